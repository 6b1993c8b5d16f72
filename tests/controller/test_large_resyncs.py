"""Resyncs of a large shop while running: by its mirror, and live only for those who moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.controller.reconcile import reconcile
from reconciler.controller.scan.incremental import incremental_resync
from reconciler.controller.scan.resync import ResyncContext, ResyncResult, full_resync
from reconciler.controller.scan.standing import FULL
from reconciler.core.decide.leaving.absence import Absence
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.request import Request
from reconciler.core.model.store import Ceiling
from reconciler.state.requests.queue import RequestTable
from reconciler.supabase.reading.chunks import Chunk
from reconciler.supabase.reading.profiles import TableProfiles
from tests.controller.bulk_rig import NAME, populate, user_of
from tests.controller.mirror_rig import COLUMNS, MirrorRig, customer

PEOPLE = 30


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[MirrorRig]:
    with MirrorRig(tmp_path) as made:
        made.settle(PEOPLE)
        full_resync(context(made))  # everybody is remembered as equal
        yield made


def context(rig: MirrorRig) -> ResyncContext:
    """Of a shop that is large from ten users on."""
    return ResyncContext(
        store=rig.stores[NAME],
        readers=rig.readers_of(fast=False),
        state=rig.state,
        book=rig.state,
        queue=RequestTable(rig.engine),
        clock=rig.clock,
        go_on=lambda: True,
        interval_s=900.0,
        mirror=rig.mirror(),
        reread_policy=lambda: None,
        large_from=10,
    )


def carefully(rig: MirrorRig) -> ResyncContext:
    """For which a missing row is no proof by itself, and above two releases none is let go."""
    made = context(rig)
    guards = made.store.guards.model_copy(update={"release": Ceiling(max=2)})
    store = made.store.model_copy(update={"guards": guards})
    return replace(made, store=store, readers=replace(made.readers, absence=Absence(grace_s=300)))


def nodes_read(rig: MirrorRig) -> int:
    return sum("nodes" in call.roots for call in rig.acme.calls)


def test_a_full_resync_reads_no_one_who_has_not_moved(rig: MirrorRig) -> None:
    before = nodes_read(rig)
    found = full_resync(context(rig))
    assert (found.whole, found.looked_at, found.wanted, found.queued) == (True, PEOPLE, PEOPLE, 0)
    assert nodes_read(rig) == before


def test_a_policy_that_changes_as_a_full_resync_begins_is_the_one_of_the_whole_resync(rig: MirrorRig) -> None:
    stop: list[str] = []
    rig.acme.shop.staff_edit(customer(rig, 4), last_name="Edited")
    rig.clock.sleep(10)
    begun = rig.clock.now()
    stale = replace(context(rig), go_on=lambda: not stop, reread_policy=lambda: stop.append("another policy"))
    assert full_resync(stale) == ResyncResult(whole=False)
    mark = rig.state.mark(stale.store.shop, FULL)
    assert mark is not None
    assert (mark.started_at, mark.cursor, mark.finished_at) == (begun, None, None), "no user was decided on"
    assert full_resync(context(rig)).queued == 1


def test_a_nudge_never_waits_for_all_that_a_resync_has_found(rig: MirrorRig) -> None:
    for number in range(PEOPLE):
        rig.acme.shop.staff_edit(customer(rig, number), last_name="Edited")
    rig.clock.sleep(10)
    resync_context = context(rig)
    assert full_resync(resync_context).queued == PEOPLE
    rig.clock.sleep(500)
    resync_context.queue.add([Request(NAME, ClerkUserId("user_new"))], rig.clock.now(), reason="webhook")
    taken = resync_context.queue.claim("one", rig.clock.now(), limit=PEOPLE + 1, lease_s=30, stores={NAME: PEOPLE + 1})
    assert len(taken) == PEOPLE + 1
    assert [c.clerk_user_id for c in taken].index(ClerkUserId("user_new")) < PEOPLE * 3 / 4


def test_a_full_resync_finds_what_was_edited_and_deleted_in_the_shop(rig: MirrorRig) -> None:
    rig.acme.shop.staff_edit(customer(rig, 4), last_name="Edited")
    rig.acme.shop.staff_delete(customer(rig, 5))
    rig.clock.sleep(10)
    assert full_resync(context(rig)).queued == 2


def test_a_row_that_was_missing_with_many_others_is_not_missing_for_the_first_time(rig: MirrorRig) -> None:
    """A restore that takes an hour, with a full scan in it: the last rows of it are no second sighting."""
    resync_context = carefully(rig)
    rows, last = dict(rig.profiles.rows), ClerkUserId(user_of(PEOPLE - 1))
    for user in list(rows)[5:]:
        del rig.profiles.rows[user]
    rig.pour()
    assert full_resync(resync_context).held == {"release": PEOPLE - 5}
    assert (
        len(rig.state.absent_users(resync_context.store.shop, limit=PEOPLE)) == PEOPLE - 5
    )  # which resyncs of changes ask for again
    rig.clock.sleep(1200)
    rig.profiles.rows.update({user: row for user, row in rows.items() if user != last})
    rig.pour()
    context = rig.store_context(resync_context.store)
    context = replace(
        context, readers=replace(context.readers, profiles=rig.table, absence=resync_context.readers.absence)
    )
    first = reconcile(last, context, rig.state)
    assert (first.result, first.reasons) == ("held", ("RowMissing",))
    while (found := reconcile(last, context, rig.state)).again_s is not None:
        rig.clock.sleep(found.again_s)
    assert found.result == "applied"


def test_where_the_bulk_query_fails_everybody_is_read_live(rig: MirrorRig) -> None:
    rig.acme.shop.staff_edit(customer(rig, 4), last_name="Edited")
    rig.acme.shop.staff_bulk_fault(status="FAILED", error_code="INTERNAL_SERVER_ERROR", after_rows=3)
    before = nodes_read(rig)
    found = full_resync(context(rig))
    assert (found.whole, found.looked_at, found.queued) == (True, PEOPLE, 1)
    assert nodes_read(rig) > before


def test_incremental_resyncs_find_who_came_and_who_changed(rig: MirrorRig) -> None:
    incremental_resync(context(rig))
    rig.clock.sleep(1000)
    rig.user(user_of(3), first_name="Adah")
    rig.user("user_new", email="new@x.example.com")
    rig.pour()
    assert incremental_resync(context(rig)).queued == 2


def test_incremental_resyncs_find_who_went_slice_by_slice(rig: MirrorRig) -> None:
    sliced = replace(context(rig), slice_size=10)
    gone = [user_of(n) for n in (4, 14, 24)]
    for user in gone:
        rig.leave(user)
    rig.pour()
    assert [incremental_resync(sliced).queued for _ in range(4)] == [1, 1, 1, 0]
    assert incremental_resync(sliced).queued == 0  # they wait already; the slices begin again


def test_half_a_table_in_one_slice_makes_a_resync_compare_all_keys_and_release_no_one(rig: MirrorRig) -> None:
    guards = rig.stores[NAME].guards.model_copy(update={"release": Ceiling(max=6)})  # more than went from one slice
    rig.stores[NAME] = rig.stores[NAME].model_copy(update={"guards": guards})
    sliced = replace(context(rig), slice_size=10, few=2)
    incremental_resync(sliced)
    for number in range(0, PEOPLE, 2):
        rig.leave(user_of(number))
    rig.pour()
    found = incremental_resync(sliced)
    assert (found.whole, found.queued, found.held) == (True, 0, {"release": PEOPLE // 2})
    assert not found.actions, "what is held is no action"


def test_an_incremental_resync_finds_who_was_edited_in_the_shop(rig: MirrorRig) -> None:
    full_resync(context(rig))
    incremental_resync(context(rig))
    rig.clock.sleep(1000)
    rig.acme.shop.staff_edit(customer(rig, 4), last_name="Edited")
    rig.clock.sleep(5)
    assert incremental_resync(context(rig)).queued == 1


def test_a_full_resync_that_was_stopped_reads_only_the_rows_behind_it(rig: MirrorRig) -> None:
    resync_context = context(rig)
    shop = resync_context.store.shop
    resync_context.book.begin(shop, FULL, now=rig.clock.now())
    resync_context.book.note(shop, FULL, cursor=ClerkUserId(user_of(9)), looked_at=10, wanted=10, findings={})
    with closing(Scanned.of(rig)) as profiles:
        found = full_resync(replace(resync_context, readers=replace(resync_context.readers, profiles=profiles)))
    assert (found.whole, found.looked_at, found.wanted) == (True, PEOPLE, PEOPLE)
    assert profiles.scans == [user_of(9)]


def test_a_full_resync_that_must_stop_while_the_mirror_is_filled_reads_no_one(rig: MirrorRig) -> None:
    resync_context = context(rig)
    rig.acme.shop.staff_edit(customer(rig, 4), last_name="Edited")
    rig.clock.sleep(10)
    with closing(Scanned.of(rig)) as profiles:
        readers = replace(resync_context.readers, profiles=profiles)
        found = full_resync(replace(resync_context, readers=readers, go_on=lambda: False))
    assert (found.whole, found.queued, profiles.scans) == (False, 0, [])
    mark = rig.state.mark(resync_context.store.shop, FULL)
    assert mark is not None
    assert mark.finished_at is None


class Scanned(TableProfiles):
    """The profiles; from where they were read as a whole, each time."""

    scans: list[ClerkUserId | None]

    @staticmethod
    def of(rig: MirrorRig) -> Scanned:
        found = Scanned(f"sqlite:///{rig.path}", "customers", {c: c for c in COLUMNS})
        found.scans = []
        return found

    def scan_rows(self, *, chunk: int = 4000, after: ClerkUserId | None = None) -> Iterator[Chunk]:
        self.scans.append(after)
        return super().scan_rows(chunk=chunk, after=after)


@pytest.mark.parametrize(("wanted", "live"), [({}, False), ({"metadata.tier": "iron"}, True)])
def test_a_first_scan_of_many_rows_goes_by_the_mirror_and_later_ones_only_where_many_are_wanted(
    tmp_path: Path, wanted: dict[str, str], *, live: bool
) -> None:
    with MirrorRig(tmp_path, where=wanted) as rig:
        populate(rig, PEOPLE)
        rig.pour()
        before = rig.calls()
        found = full_resync(context(rig))
        assert (found.whole, found.looked_at, found.wanted) == (True, PEOPLE, 0 if live else PEOPLE)
        assert found.queued == found.wanted
        assert {root for call in list(rig.acme.calls)[before:] for root in call.roots} == {
            "customersCount", "bulkOperationRunQuery", "bulkOperation",
        }  # fmt: skip
        rig.clock.sleep(60)
        before = rig.calls()
        full_resync(context(rig))
        roots = {root for call in list(rig.acme.calls)[before:] for root in call.roots}
        assert ("bulkOperationRunQuery" not in roots) == live
