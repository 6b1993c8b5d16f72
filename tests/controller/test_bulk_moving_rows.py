"""A row that moves while its line is under way: in whatever order the writers wrote, the shop ends at what the row says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.bulk.context import BulkContext
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ShopDomain
from reconciler.core.model.mapping import Mapping
from reconciler.ports import BulkRepository
from tests.controller.bulk_rig import NAME, BulkRig, check_at_rest, populate, user_of

PEOPLE = 12
MOVED, LEFT, TAGGED, CLEARED, CREATED = (user_of(n) for n in (1, 2, 3, 4, 90))
NEVER = 1e-12  # rows a second
WORKED = {"applied", "in_sync", "nothing"}
Worker = Callable[[BulkRig, str], None]


def no_worker(_: BulkRig, __: str) -> None:
    """No worker of a `run` is there."""


def a_worker(rig: BulkRig, user: str) -> None:
    """A nudge, and a worker who writes what the row says now."""
    assert {found.result for _, found in rig.requested(NAME, user)} <= WORKED


WORKERS = pytest.mark.parametrize("worker", [no_worker, a_worker], ids=["alone", "beside a worker"])


@pytest.fixture(params=["auto", "hold"], ids=["drift is corrected", "drift is held"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BulkRig]:
    with BulkRig(tmp_path, heal_drift=request.param, fields={"phone": "enforce"}) as made:
        populate(made, PEOPLE)
        yield made


def under_way(rig: BulkRig, moves: Callable[[], None]) -> None:
    """While the first files lie at the shop and not a line of them has run, this happens; then all run."""

    def once() -> None:
        assert rig.state.bulk_files(rig.stores[NAME].shop)
        rig.while_waiting = lambda: None
        moves()
        rig.acme.shop.bulk_rows_per_s = None

    rig.acme.shop.bulk_rows_per_s = NEVER
    rig.while_waiting = once


def finish_files(rig: BulkRig) -> None:
    """Let the files at the shop run to their end."""
    for file in rig.state.bulk_files(rig.stores[NAME].shop):
        assert file.operation is not None
        shop = rig.writer()
        while (state := shop.operation_state(file.operation)) is not None and state.status == "running":
            pass  # each poll lets it run a little further
        assert state is not None
        assert state.status == "completed"


def says(rig: BulkRig, user: str) -> dict[str, Any]:
    """What the shop shows of the user, and what the state says was agreed on: the same, or we lie to ourselves."""
    shown, mapping = rig.of_user(NAME, user), rig.mapping(NAME, user)
    assert shown is not None
    assert mapping is not None
    assert (mapping.status, mapping.customer_id, mapping.email) == ("in_sync", shown.id, shown.email)
    agreed = {field: mapping.applied[field].value for field in ("first_name", "last_name", "phone")}
    assert agreed == {"first_name": shown.first_name, "last_name": shown.last_name, "phone": shown.phone}
    assert all(mapping.applied[field].ours for field, value in agreed.items() if value is not None)
    return {**agreed, "email": shown.email, **shown.metafields}


def change(rig: BulkRig, worker: Worker) -> None:
    """Rows move in all that a line may write; `worker` may write each before the line does."""
    rig.user(MOVED, first_name="Newer", email="newer@x.example.com")
    rig.user(TAGGED, metadata={"tier": "platinum"}, phone="+16134509999")
    rig.user(CLEARED, last_name=None)
    for user in (MOVED, TAGGED, CLEARED):
        worker(rig, user)


def check_changed(rig: BulkRig) -> None:
    """Everything is as `change` left it."""
    newer = says(rig, MOVED)
    assert (newer["first_name"], newer["email"]) == ("Newer", "newer@x.example.com")
    tagged = says(rig, TAGGED)
    assert (tagged["phone"], tagged["clerk.tier"]) == ("+16134509999", "platinum")
    assert says(rig, CLEARED)["last_name"] is None
    links = [c.backlink for c in rig.people(NAME).values()]
    assert len(links) == len(set(links))
    check_at_rest(rig)


@pytest.mark.matrix
@WORKERS
def test_who_is_made_by_an_older_row_ends_as_the_newer_one_says(rig: BulkRig, worker: Worker) -> None:
    under_way(rig, lambda: change(rig, worker))
    found = rig.cycle()
    assert {o.result for o in found.outcomes} == {"applied"}
    assert len(found.outcomes) == PEOPLE
    check_changed(rig)


@pytest.mark.matrix
@WORKERS
def test_who_is_changed_by_an_older_row_ends_as_the_newer_one_says(rig: BulkRig, worker: Worker) -> None:
    """The line writes over what a worker has written: that is our own older value, and no drift."""
    rig.cycle()
    for n in range(PEOPLE):
        rig.user(user_of(n), first_name=f"Middle {n}", metadata={"tier": "silver"}, phone=f"+1613450{6000 + n}")
    under_way(rig, lambda: change(rig, worker))
    found = rig.cycle()
    assert {o.result for o in found.outcomes} == {"applied"}
    check_changed(rig)
    assert says(rig, user_of(5))["first_name"] == "Middle 5"


@pytest.mark.matrix
@WORKERS
@pytest.mark.parametrize("on_leave", ["keep", "tag", "delete"])
def test_a_user_with_a_row_that_goes_during_the_create_is_released(rig: BulkRig, worker: Worker, on_leave: str) -> None:
    """Also where a worker has made and released the user by then, and the line makes the customer once more.

    The line itself never turns into a release, which no person has seen: the next plan has it.
    """
    rig.rotate(NAME, on_leave=on_leave)

    def leaves() -> None:
        worker(rig, LEFT)
        rig.leave(LEFT)
        worker(rig, LEFT)

    under_way(rig, leaves)
    rig.cycle()
    rig.cycle()
    left = rig.mapping(NAME, LEFT)
    assert left is not None
    assert left.status == "released"
    shown = rig.of_user(NAME, LEFT)
    assert (shown is None) == (on_leave == "delete")
    if shown is not None:
        assert (rig.stores[NAME].leave_tag in shown.tags) == (on_leave == "tag")
    check_at_rest(rig)


def test_a_row_that_moves_after_its_line_and_is_written_by_a_worker_keeps_what_was_written(rig: BulkRig) -> None:
    def runs_and_moves() -> None:
        rig.acme.shop.bulk_rows_per_s = None
        finish_files(rig)
        change(rig, a_worker)

    under_way(rig, runs_and_moves)
    rig.cycle()
    check_changed(rig)


@pytest.mark.parametrize("known", [False, True], ids=["newcomers", "known"])
def test_a_tag_of_a_policy_that_changes_while_files_are_under_way_is_taken_off_later(
    tmp_path: Path, *, known: bool
) -> None:
    """`run` has the new stores.yaml, while an `apply` still has the former one."""
    with BulkRig(tmp_path, tags=["app-user", "one"]) as rig:
        populate(rig, PEOPLE)
        if known:
            rig.cycle()
            rig.rotate(NAME, tags=["app-user", "two"])
        newer = ["app-user", "three"]

        def runs_and_is_edited() -> None:
            rig.acme.shop.bulk_rows_per_s = None
            finish_files(rig)
            before = rig.stores[NAME]
            rig.rotate(NAME, tags=newer)
            a_worker(rig, MOVED)
            rig.stores[NAME] = before

        under_way(rig, runs_and_is_edited)
        rig.cycle()
        for tags in (newer, ["app-user", "four"]):
            rig.rotate(NAME, tags=tags)
            rig.cycle()
        shown = rig.of_user(NAME, MOVED)
        assert shown is not None
        assert sorted(shown.tags) == ["app-user", "four"]
        check_at_rest(rig)


class Settling:
    """The book, and somebody who writes after what is settled was read, and before it is."""

    def __init__(self, book: BulkRepository, then: Callable[[], None]) -> None:
        self._book, self._then = book, [then]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._book, name)

    def settle_lines(self, shop: ShopDomain, rows: Sequence[Mapping], events: Sequence[Event], **more: Any) -> Any:
        if rows and self._then:
            self._then.pop()()
        return self._book.settle_lines(shop, rows, events, **more)


@pytest.mark.matrix
@pytest.mark.parametrize("first", [True, False], ids=["newcomers", "known"])
def test_what_a_worker_writes_while_an_answer_is_read_stays_as_he_wrote_it(rig: BulkRig, *, first: bool) -> None:
    if not first:
        rig.cycle()
        for n in range(PEOPLE):
            rig.user(user_of(n), first_name=f"Middle {n}", last_name="of Nowhere")
    planned = rig.plan()
    context = rig.store_context(rig.stores[NAME])
    assert isinstance(context.bulk, BulkContext)
    book = cast("BulkRepository", Settling(context.bulk.book, lambda: change(rig, a_worker)))
    found = list(apply_plan(planned.scans[NAME], replace(context, bulk=replace(context.bulk, book=book)), fresh=True))
    assert [o.result for o in found] == ["applied"] * PEOPLE
    check_changed(rig)


@pytest.mark.matrix
@WORKERS
@pytest.mark.parametrize("moment", [20, 40, 60])
def test_rows_that_moved_before_a_killed_run_is_continued_are_executed(
    rig: BulkRig, worker: Worker, moment: int
) -> None:
    with rig.killed_after(moment):
        rig.cycle()
    change(rig, worker)
    found = [rig.cycle(), rig.cycle()]
    assert [o.result for cycle in found for o in cycle.outcomes if o.result != "applied"] == []
    check_changed(rig)


@pytest.mark.slow
def test_a_run_that_dies_while_a_moved_row_is_put_right_leaves_it_to_the_next(tmp_path: Path) -> None:
    """Killed at many moments of the same run, in which rows moved and a worker wrote them."""

    def begun(folder: Path) -> BulkRig:
        rig = BulkRig(folder, fields={"phone": "enforce"})
        populate(rig, PEOPLE)
        under_way(rig, lambda: change(rig, a_worker))
        return rig

    with begun(tmp_path / "counted") as rig:
        before = rig.files.crossings
        rig.cycle()
        moments = rig.files.crossings - before
        check_changed(rig)
    for moment in range(30, moments, 23):
        with begun(tmp_path / f"dies-{moment}") as rig:
            with rig.killed_after(moment):
                rig.cycle()
            rig.while_waiting = lambda: None
            rig.acme.shop.bulk_rows_per_s = None
            change(rig, no_worker)
            found = [rig.cycle(), rig.cycle()]
            assert [o for cycle in found for o in cycle.failures] == [], moment
            check_changed(rig)
