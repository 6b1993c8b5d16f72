"""One request walked from its name to its status, and who is nudged by it. In process, as a worker of `run` does it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.context import StoreContext
from reconciler.controller.leaving.completeness import Samples
from reconciler.controller.reconcile import reconcile
from reconciler.controller.step import ReconcileResult
from reconciler.core.decide.leaving.absence import Absence
from reconciler.core.model.ids import ClerkUserId, CustomerId, StoreName
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.errors import TemporaryError
from tests.core.people import store
from tests.inprocess import Rig, Rows

ADA, BOB, CYD = "user_ada", "user_bob", "user_cyd"
THREE = (ADA, BOB, CYD)


def acme(**policy: Any) -> Store:
    guards = {k: {"max": 99} for k in ("update", "relink", "merge", "release")}
    return store(**{"guards": guards, **policy})


@pytest.fixture
def components(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, acme()) as made:
        for user in THREE:
            made.user(user, email=f"{user}@x.example.com", first_name=user)
        made.requested("acme", *THREE)
        yield made


def told(components: Rig, *users: str) -> list[tuple[str, str]]:
    return [(user, found.result) for user, found in components.requested("acme", *users)]


def emails(components: Rig) -> dict[str | None, str | None]:
    return {c.backlink: c.email for c in components.people("acme").values()}


def test_a_request_does_what_the_plan_showed_and_then_nothing(components: Rig) -> None:
    components.user(ADA, last_name="New")
    shown = components.plan(users=[ADA]).plan.stores[0].actions
    before = components.mutations()
    assert told(components, ADA) == [(ADA, "applied")]
    assert components.mutations() - before == len(shown) == 1
    assert told(components, ADA) == [(ADA, "in_sync")]


def test_a_request_for_somebody_unknown_is_nothing(components: Rig) -> None:
    assert told(components, "user_unknown") == [("user_unknown", "nothing")]


def test_a_held_user_is_reported_with_their_reasons(components: Rig) -> None:
    components.user("user_dee", email=None)
    [(_, found)] = components.requested("acme", "user_dee")
    assert (found.result, found.reasons) == ("held", ("NoEmail",))
    row = components.mapping("acme", "user_dee")
    assert row is not None
    assert (row.status, row.reason) == ("held", "NoEmail")


def test_who_waits_for_an_address_is_nudged_when_it_becomes_free(components: Rig) -> None:
    components.user(ADA, email=f"{BOB}@x.example.com", last_name="New")
    told(components, ADA)
    assert emails(components)[ADA] == f"{ADA}@x.example.com"
    row = components.mapping("acme", ADA)
    assert row is not None
    assert row.waits_for_email == f"{BOB}@x.example.com"
    components.user(BOB, email="bob2@x.example.com")
    assert told(components, BOB)[-1] == (ADA, "applied")
    assert emails(components)[ADA] == f"{BOB}@x.example.com"
    assert components.plan().plan.summary.actions == 0


def test_of_two_newcomers_with_one_address_the_one_who_keeps_it_is_reconciled_when_the_other_changes_theirs(
    components: Rig,
) -> None:
    for user in ("user_dee", "user_eve"):
        components.user(user, email="both@x.example.com")
    assert {result for _, result in told(components, "user_dee", "user_eve")} == {"held"}
    components.user("user_dee", email="dee@x.example.com")
    assert told(components, "user_dee") == [("user_dee", "applied"), ("user_eve", "applied")]
    assert emails(components)["user_eve"] == "both@x.example.com"
    assert components.plan().plan.summary.actions == 0


def test_of_many_with_one_address_one_who_corrects_theirs_nudges_no_other_as_none_may_get_it(components: Rig) -> None:
    """A faulty import gives all rows one email; each that is corrected had all others reconciled again."""
    users = [f"user_{n:02}" for n in range(24)]
    for user in users:
        components.user(user, email="first@x.example.com")
    assert {result for _, result in told(components, *users)} == {"held"}
    for user in users[3:]:
        components.user(user, email=f"{user}@x.example.com")
    assert told(components, *users[3:6]) == [(user, "applied") for user in users[3:6]]
    told(components, *users[6:])
    components.user(users[0], email="zero@x.example.com")
    components.user(users[1], email="one@x.example.com")
    assert told(components, *users[:2])[-1] == (users[2], "applied"), "now it is for the last one"
    assert emails(components)[users[2]] == "first@x.example.com"
    assert components.plan().plan.summary.actions == 0


class CountedClaims(Rows):
    """Counts the rows that are read because of their email."""

    read = 0

    def sharing_email(self, emails: Collection[str] | None = None, *, enough: int | None = None) -> list[Profile]:
        found = super().sharing_email(emails, enough=enough)
        self.read += len(found)
        return found


def test_of_thousands_with_one_address_each_reads_few_of_the_others(components: Rig) -> None:
    """Each read all: three thousand rows of a faulty import cost as many seconds of the processor as a day's work."""
    components.profiles = rows = CountedClaims()
    for user in THREE:
        components.user(user, email=f"{user}@x.example.com", first_name=user)
    components.user("user_zoe", email="one@x.example.com")
    assert told(components, "user_zoe") == [("user_zoe", "applied")]
    many = [f"user_{n:04}" for n in range(1000)]
    for user in many:
        components.user(user, email="one@x.example.com")
    assert {result for _, result in told(components, *many[-20:])} == {"held"}
    assert rows.read <= 21 * 100
    components.user(ADA, email="one@x.example.com", first_name=ADA)
    assert told(components, ADA) == [(ADA, "held")]
    (held,) = components.plan(users=[ADA]).plan.stores[0].holds
    assert "user_zoe" in held.message, "to a user with a customer, only those with one matter: all are searched"
    assert told(components, "user_zoe") == [("user_zoe", "in_sync")]


def test_where_the_first_with_an_address_are_not_wanted_here_all_are_searched(tmp_path: Path) -> None:
    with Rig(tmp_path, acme(where={"locale": ["de"]})) as rig:
        for n in range(130):
            rig.user(f"user_{n:03}", email="one@x.example.com", locale="de" if n >= 128 else "en")
        assert told(rig, "user_129", "user_128") == [("user_129", "held"), ("user_128", "held")]


@pytest.mark.matrix
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("first", [0, 1])
def test_a_circle_turns_by_nudges_alone(components: Rig, size: int, first: int, *, lost: bool) -> None:
    users = THREE[:size]
    before = {c.backlink: c.id for c in components.people("acme").values()}
    for i, user in enumerate(users):
        components.user(user, email=f"{users[(i + 1) % size]}@x.example.com")
    if lost:
        components.lose_state()
    components.requested("acme", users[first])
    assert {c.backlink: c.id for c in components.people("acme").values()} == before
    assert [emails(components)[u] for u in users] == [f"{users[(i + 1) % size]}@x.example.com" for i in range(size)]
    assert components.plan().plan.summary.actions == 0


def test_a_circle_that_no_one_can_break_is_reported_for_each(tmp_path: Path) -> None:
    with Rig(tmp_path, acme()) as bare:
        for user in (ADA, BOB):
            bare.user(user, email=f"{user}@x.example.com")
        bare.requested("acme", ADA, BOB)
        bare.user(ADA, email=f"{BOB}@x.example.com")
        bare.user(BOB, email=f"{ADA}@x.example.com")
        bare.requested("acme", ADA, BOB, turns=6)
        row = bare.mapping("acme", ADA)
        assert row is not None
        assert row.reason == "EmailConflict"
        assert emails(bare) == {ADA: f"{ADA}@x.example.com", BOB: f"{BOB}@x.example.com"}


def test_the_hours_budget_ends_and_comes_back(components: Rig) -> None:
    components.rotate("acme", guards={"update": {"max": 1}})
    components.clock.sleep(3600)
    for user in (ADA, BOB):
        components.user(user, last_name="New")
    assert told(components, ADA, BOB) == [(ADA, "applied"), (BOB, "held")]
    row = components.mapping("acme", BOB)
    assert row is not None
    assert row.reason == "GuardExceeded"
    components.clock.sleep(3600)
    assert told(components, BOB) == [(BOB, "applied")]


def test_a_percentage_of_few_mappings_is_named_where_it_releases_no_one(components: Rig) -> None:
    components.rotate("acme", guards={"update": {"max": 500, "percent": 1}})
    components.clock.sleep(3600)
    components.user(ADA, last_name="New")
    assert told(components, ADA) == [(ADA, "held")]
    row = components.mapping("acme", ADA)
    assert row is not None
    assert row.message == "this hour's budget for update is spent: none at most (1 % of its mappings; max is 500)"


def test_a_user_without_a_row_yet_is_reconciled_later_and_never_released(components: Rig) -> None:
    context = components.store_context(next(iter(components.stores.values())))
    wanted = components.clock.now() + timedelta(seconds=5)
    components.leave(ADA)
    for user in (ClerkUserId(ADA), ClerkUserId("user_new")):
        assert reconcile(user, context, components.state, wants_updated_at=wanted).result == "early"
    assert emails(components)[ADA] is not None
    components.requested("acme", ADA)
    assert reconcile(ClerkUserId(ADA), context, components.state, wants_updated_at=wanted).result != "early"


def test_a_row_that_is_missing_in_two_reads_that_are_far_enough_apart_releases_its_user(components: Rig) -> None:
    context = running(components)
    components.leave(ADA)
    before = components.mutations()
    [first] = [reconcile(ClerkUserId(ADA), context, components.state)]
    assert (first.result, first.reasons, first.again_s) == ("held", ("RowMissing",), 10.0)
    row = components.mapping("acme", ADA)
    assert row is not None
    assert (row.status, row.reason, row.absent_since) == ("pending", "RowMissing", components.clock.now())
    times_s = [0.0]
    while (found := reconcile(ClerkUserId(ADA), context, components.state)).again_s is not None:
        components.clock.sleep(found.again_s)
        times_s.append(times_s[-1] + found.again_s)
    assert (times_s[-1], len(times_s)) == (300.0, 7)  # soon, then later
    assert (found.result, found.kind) == ("applied", "release")
    assert components.mutations() == before  # on_leave: keep
    row = components.mapping("acme", ADA)
    assert row is not None
    assert (row.status, row.reason, row.absent_since) == ("released", None, None)


def test_a_row_that_was_seen_in_between_has_to_be_missing_twice_again(components: Rig) -> None:
    context, profile = running(components), components.profiles.rows[ClerkUserId(ADA)]
    for _ in range(3):
        components.leave(ADA)
        assert reconcile(ClerkUserId(ADA), context, components.state).reasons == ("RowMissing",)
        components.clock.sleep(299)
        assert reconcile(ClerkUserId(ADA), context, components.state).reasons == ("RowMissing",)
        components.profiles.rows[ClerkUserId(ADA)] = profile
        assert reconcile(ClerkUserId(ADA), context, components.state).result == "in_sync"
    row = components.mapping("acme", ADA)
    assert row is not None
    assert (row.status, row.absent_since) == ("in_sync", None)


def test_a_row_that_was_seen_in_between_counts_as_seen_where_the_shop_did_not_answer(components: Rig) -> None:
    context, profile = running(components), components.profiles.rows[ClerkUserId(ADA)]
    components.leave(ADA)
    assert reconcile(ClerkUserId(ADA), context, components.state).reasons == ("RowMissing",)
    components.clock.sleep(200)
    components.profiles.rows[ClerkUserId(ADA)] = profile
    components.sim("acme").faults.add("lost_before", times=None)
    with pytest.raises(TemporaryError):
        reconcile(ClerkUserId(ADA), context, components.state)
    components.sim("acme").faults.clear()
    components.leave(ADA)
    components.clock.sleep(100)
    found = reconcile(ClerkUserId(ADA), context, components.state)
    assert (found.reasons, found.again_s) == (("RowMissing",), 10.0)


def test_a_user_with_an_unrecorded_last_write_is_released_as_well(components: Rig) -> None:
    components.user(ADA, last_name="New")
    components.sim("acme").faults.add("lost_before", on="customerSet", times=None)
    [(_, found)] = components.requested("acme", ADA)
    assert found.result == "permanent"
    components.sim("acme").faults.clear()
    row = components.mapping("acme", ADA)
    assert row is not None
    assert row.intent is not None
    components.leave(ADA)
    assert until_proven(ADA, running(components), components, reads_max=20).kind == "release"


def test_two_reads_far_apart_do_not_count_where_those_between_them_did_not_come(components: Rig) -> None:
    """A store that was suspended, a table that could not be read: the row may have been there in between."""
    context = running(components)
    components.leave(ADA)
    assert reconcile(ClerkUserId(ADA), context, components.state).again_s == 10.0
    components.clock.sleep(301)
    found = reconcile(ClerkUserId(ADA), context, components.state)
    assert (found.reasons, found.again_s) == (("RowMissing",), 10.0)


@pytest.mark.parametrize("late_s", [0.0, 149.0])
def test_reads_that_come_late_prove_an_absence_as_well(components: Rig, late_s: float) -> None:
    components.leave(ADA)
    began = components.clock.now()
    assert until_proven(ADA, running(components), components, late_s=late_s).kind == "release"
    assert timedelta(seconds=300) <= components.clock.now() - began < timedelta(seconds=600)


def test_while_many_rows_are_missing_no_read_counts(components: Rig) -> None:
    """A table that is loaded in parts for longer than the grace."""
    users = [f"user_{n:02}" for n in range(20)]
    for user in users:
        components.user(user, email=f"{user}@x.example.com")
    components.requested("acme", *users)
    context = running(components, guards={"release": {"max": 25, "percent": 10}})
    rows = {user: components.profiles.rows[ClerkUserId(user)] for user in users}
    for user in users[5:]:
        components.leave(user)
    for _ in range(4):
        for user in users[5:]:
            found = reconcile(ClerkUserId(user), context, components.state)
            assert (found.result, found.reasons, found.again_s) == ("held", ("RowMissing",), 300.0)
        components.clock.sleep(300)
    row = components.mapping("acme", users[9])
    assert row is not None
    assert row.absent_since is None
    assert row.message is not None
    assert row.message.startswith("the profile row is missing, as for 15 of 23 mapped users of this store: ")
    for user in users[:-1]:
        components.profiles.rows[ClerkUserId(user)] = rows[user]
    assert reconcile(ClerkUserId(users[-1]), context, components.state).again_s == 10.0  # the first read that counts
    assert until_proven(users[-1], context, components).kind == "release"
    for user in users[:-1]:
        assert reconcile(ClerkUserId(user), context, components.state).result == "in_sync"


@pytest.mark.parametrize(("says", "kind"), [(True, "release"), (False, None), (None, None)])
def test_what_clerk_says_of_a_user_without_a_row_is_proof_only_where_it_is_a_404(
    components: Rig, *, says: bool | None, kind: str | None
) -> None:
    components.leave(ADA)
    assert reconcile(ClerkUserId(ADA), running(components), components.state, is_gone=lambda _user: says).kind == kind


def test_an_action_never_turns_into_a_release_on_the_way(components: Rig) -> None:
    """The row goes between the read and the refusal: a release has its own guards, and was shown to no person."""
    components.stores[StoreName("acme")] = acme(on_leave="delete")
    components.user(ADA, last_name="New")
    planned = components.plan()
    components.sim("acme").faults.add(
        "lost_before",
        on="customerSet",
        when=lambda _v: components.profiles.rows.pop(ClerkUserId(ADA), None) is not None,
    )
    [outcome] = components.apply(planned)
    assert (outcome.result, outcome.hint) == ("refused", "the next plan shows the release")
    assert emails(components)[ADA] is not None


def until_proven(
    user: str, context: StoreContext, components: Rig, *, late_s: float = 0.0, reads_max: int = 100
) -> ReconcileResult:
    """Reconcile a user without a row whenever that is due, until it is known to have left."""
    for _ in range(reads_max):
        found = reconcile(ClerkUserId(user), context, components.state)
        if found.again_s is None:
            return found
        components.clock.sleep(found.again_s + late_s)
    raise AssertionError(f"after {reads_max} reads {user} is not known to have left")


def running(components: Rig, **policy: Any) -> StoreContext:
    """The context of `run`, for which a missing row is no proof by itself."""
    context = components.store_context(acme(**policy))
    return replace(context, readers=replace(context.readers, absence=Absence(grace_s=300)))


def test_a_write_that_never_arrives_is_a_failure(components: Rig) -> None:
    components.user(ADA, last_name="New")
    components.sim("acme").faults.add("lost_before", on="customerSet", times=None)
    [(_, found)] = components.requested("acme", ADA)
    assert found.result == "permanent"


def test_who_waits_for_the_address_of_a_user_who_leaves_is_reconciled_when_that_user_is_released(
    components: Rig,
) -> None:
    context = running(components)
    components.leave(BOB)
    components.user(CYD, email=f"{BOB}@x.example.com")  # has a customer, so that the policy says what comes of it
    assert reconcile(ClerkUserId(CYD), context, components.state).result == "waiting"
    assert reconcile(ClerkUserId(BOB), context, components.state).reasons == ("RowMissing",)
    found = until_proven(BOB, context, components)
    assert (found.kind, found.nudge) == ("release", (CYD,))
    assert reconcile(ClerkUserId(CYD), context, components.state).kind == "relink"


@pytest.mark.parametrize("loaded", [range(900), range(900, 1100), [*range(300), *range(600, 1100)]])
def test_a_large_table_that_is_loaded_in_the_order_of_its_keys_is_complete_for_no_one_who_is_missing(
    tmp_path: Path, loaded: Sequence[int]
) -> None:
    """Nor to those at either end, who have neighbours on one side only."""
    with Rig(tmp_path, acme()) as components:
        users = load_large(components, loaded)
        context = running(components, guards={})
        missing = [user for user in users if user not in components.profiles.rows]
        now = context.clock.now()
        seen = [
            Samples().of(user, context.store, context.readers, now).looks_whole
            for user in [*missing[:3], *missing[-3:]]
        ]
        assert not any(seen)


def load_large(components: Rig, loaded: Iterable[int]) -> list[ClerkUserId]:
    """So many users of a store have a mapping that a sample does not hold all; these have a row."""
    users = [ClerkUserId(f"user_{n:04}") for n in range(1100)]
    components.user(users[0], email="first@x.example.com", first_name="First", locale="en")
    components.requested("acme", users[0])
    row, profile = components.mapping("acme", users[0]), components.profiles.rows[users[0]]
    assert row is not None
    components.state.put_many(
        [replace(row, clerk_user_id=u, customer_id=CustomerId(f"gid://{u}"), email=f"{u}@x") for u in users[1:]]
    )
    components.profiles.rows.clear()
    for n in loaded:
        components.profiles.rows[users[n]] = profile.model_copy(update={"clerk_user_id": users[n]})
    return users


class CountedRows(Rows):
    """Profiles that count the rows, or keys, that were asked for."""

    asked = 0

    def get(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Profile]:
        self.asked += len(users)
        return super().get(users)

    def users_without_row(self, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        self.asked += len(users)
        return super().users_without_row(users)


def test_users_with_rows_that_cease_to_match_at_the_same_time_share_a_sample_of_those_around_them(
    tmp_path: Path,
) -> None:
    with Rig(tmp_path, acme()) as components:
        counted = components.profiles = CountedRows()
        users = load_large(components, range(1100))
        for user in [users[550], *users[-200:]]:  # one who leaves, and the newest, with a column that is not filled yet
            components.user(user, locale="fr")
        context = running(components, guards={}, where={"locale": "en"}, on_leave="delete")
        find = partial(context.samples.of, store=context.store, readers=context.readers, by_where=True)
        counted.asked, now = 0, context.clock.now()
        assert find(users[550], now=now).looks_whole
        assert not any(find(user, now=now).looks_whole for user in users[-200:])
        assert counted.asked <= 2000
        for user in users[-200:]:
            components.user(user, locale="en")
        assert find(users[-1], now=now + timedelta(seconds=3)).looks_whole
        for user in users[-200:]:
            components.user(user, locale="fr")
        in_short = replace(context.readers, absence=Absence(grace_s=0))
        assert not find(users[-1], now=now + timedelta(seconds=3), readers=in_short).looks_whole
        held = len(repr(context.samples))
        for hours in (1, 2, 3):  # other stores, or the same one by another `where`
            other = acme(where={"locale": ["en", "fr", f"{hours}"]}, on_leave="delete")
            assert find(users[-1], store=other, now=now + timedelta(hours=hours)).looks_whole
        assert len(repr(context.samples)) <= held
