"""Plans by bulk operations end as plans one by one do, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.bulk.files import file_sizes
from tests.controller.bulk_rig import (
    NAME,
    BulkRig,
    check_at_rest,
    customers,
    outcomes,
    populate,
    rows,
    told,
    user_of,
)

PEOPLE = 30
Story = Callable[[BulkRig], None]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[BulkRig]:
    with BulkRig(tmp_path) as made:
        populate(made, PEOPLE)
        yield made


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[BulkRig, BulkRig]]:
    """The same people before two shops: one is written by bulk, the other one by one."""
    with BulkRig(tmp_path / "bulk") as bulk, BulkRig(tmp_path / "paced", by_bulk=False) as paced:
        for each in (bulk, paced):
            populate(each, PEOPLE)
        yield bulk, paced


def check_same(bulk: BulkRig, paced: BulkRig) -> None:
    assert customers(bulk) == customers(paced)
    assert rows(bulk) == rows(paced)
    assert told(bulk) == told(paced)
    for each in (bulk, paced):
        check_at_rest(each)
    assert bulk.files.tokens_leaked == 0


def files(rig: BulkRig) -> list[list[str]]:
    """What was handed over for each bulk mutation, line by line."""
    sources = [each.source for _, each in sorted(rig.acme.shop.operations.items())]
    return [source.read_text("utf-8").splitlines() for source in sources if source is not None]


# --- what it is for ------------------------------------------------------------------------------------------------


def test_new_users_go_by_bulk_and_cost_next_to_nothing(rig: BulkRig) -> None:
    planned = rig.plan()
    before = rig.acme.bucket.spent
    found = rig.apply(planned)
    assert outcomes(found) == {user_of(n): ("create", "applied") for n in range(PEOPLE)}
    assert rig.acme.counts.get("customerSet", 0) == 0
    assert rig.acme.counts["bulkOperationRunMutation"] == 6  # ten users a file, and then their metafields
    assert rig.acme.bucket.spent - before < 6 * 60
    check_at_rest(rig)


def test_the_shop_works_on_the_first_file_while_the_next_users_are_checked(rig: BulkRig) -> None:
    rig.cycle()
    for n in range(PEOPLE):
        rig.user(user_of(n), first_name="Renamed")
    rig.piece_lines = 5
    planned = rig.plan()
    rig.acme.calls.clear()
    rig.apply(planned)
    calls = [root for call in rig.acme.calls for root in call.roots]
    starts = [at for at, root in enumerate(calls) if root == "bulkOperationRunMutation"]
    checks = [at for at, root in enumerate(calls) if root == "nodes"]
    assert len(starts) == 3
    assert starts[0] < checks[-1] < starts[-1]
    check_at_rest(rig)


def test_an_operation_is_asked_for_about_when_it_ends(rig: BulkRig) -> None:
    rig.acme.shop.bulk_rows_per_s = 0.1
    rig.cycle()
    assert 110 <= sum(rig.naps) <= 120  # ten lines of a hundred seconds, and one of metafields
    assert rig.acme.counts["bulkOperation"] <= 6 * 20
    check_at_rest(rig)


def test_files_are_the_same_however_few_lines_are_in_memory(both: tuple[BulkRig, BulkRig]) -> None:
    at_once, in_pieces = both
    in_pieces.by_bulk = True
    at_once.lines_min = in_pieces.lines_min = PEOPLE
    at_once.cycle()
    in_pieces.piece_lines = 3
    in_pieces.cycle()
    assert files(at_once) == files(in_pieces)
    assert [len(each) for each in files(at_once)] == [PEOPLE, 3]  # metafields of twelve customers share a line
    check_same(at_once, in_pieces)


def test_what_a_file_has_no_space_for_goes_with_the_next(both: tuple[BulkRig, BulkRig]) -> None:
    bulk, paced = both
    bulk.file_bytes_max, bulk.lines_min = 5000, PEOPLE
    for each in both:
        each.cycle()
    assert [len(each) for each in files(bulk)] == [21, 9, 1, 1, 1]  # metafields of twelve customers share a line
    assert "customerSet" not in bulk.acme.counts
    check_same(bulk, paced)


@pytest.mark.parametrize(
    ("lines", "files"), [(1, 1), (1999, 1), (2000, 2), (10_000, 10), (120_000, 10), (160_000, 15), (1_000_003, 100)]
)
def test_a_plan_fills_files_that_end_one_after_the_other(lines: int, files: int) -> None:
    sizes = file_sizes(lines, lines_min=1000)
    assert sizes == sorted(set(sizes))
    assert max(sizes) <= 1.13 * sum(sizes) / len(sizes) < 35_000
    assert lines <= sum(sizes) * files / len(sizes) < lines + 2 * files


def test_a_small_plan_is_sent_one_by_one(rig: BulkRig) -> None:
    rig.always = False
    rig.cycle()
    assert rig.acme.counts["customerSet"] == PEOPLE
    assert "bulkOperationRunMutation" not in rig.acme.counts
    check_at_rest(rig)


def test_a_large_plan_goes_by_bulk_where_the_forecast_says_so(tmp_path: Path) -> None:
    with BulkRig(tmp_path, lines_min=1000, rate=10) as rig:
        rig.always = False
        populate(rig, 70)
        planned = rig.plan()
        assert planned.plan.stores[0].forecast.bulk_worth_it
        found = rig.apply(planned)
        assert {o.result for o in found} == {"applied"}
        assert "customerSet" not in rig.acme.counts
        assert len(rig.people(NAME)) == 70


# --- the same as one by one ------------------------------------------------------------------------------------------


def first_sync(_: BulkRig) -> None:
    """No one is there yet."""


def changes(rig: BulkRig) -> None:
    """Every kind of change that may go by bulk, on people who are there, and drift beside it."""
    rig.cycle()
    for n in range(PEOPLE):
        of_five: dict[int, dict[str, Any]] = {
            0: {"first_name": "Renamed"},
            1: {"email": f"moved{n}@x.example.com"},
            2: {"phone": f"+1613450{6000 + n}", "last_name": None},
            3: {"metadata": {"tier": "silver"}},
            4: {"image_url": None, "first_name": "Both"},
        }
        rig.user(user_of(n), **of_five[n % 5])
    shown = {c.backlink: c for c in rig.people(NAME).values()}
    for n in (5, 6, 7):
        rig.acme.staff("untag", id=shown[user_of(n)].id, tags=["app-user"])
        rig.acme.staff("tag", id=shown[user_of(n)].id, tags=["vip"])
    rig.acme.staff("edit", id=shown[user_of(8)].id, firstName="Edited")


def other_kinds(rig: BulkRig) -> None:
    """Adoptions, swaps, releases and re-links among them: those go one by one, in the same run."""
    for n in (0, 1):
        rig.acme.staff("create", email=f"person{n}@x.example.com", note="by staff")
    rig.cycle()
    one, two = f"person{2}@x.example.com", f"person{3}@x.example.com"
    rig.user(user_of(2), email=two)
    rig.user(user_of(3), email=one)
    rig.user(user_of(4), email="person5@x.example.com")
    rig.user(user_of(5), email="elsewhere@x.example.com")
    rig.leave(user_of(6))
    for n in range(7, 20):
        rig.user(user_of(n), first_name="Changed")
    for n in range(100, 110):
        rig.user(user_of(n), email=f"late{n}@x.example.com", first_name="Late")


def refusals(rig: BulkRig) -> None:
    """Values that Shopify refuses."""
    rig.user(user_of(0), image_url="no address at all")
    rig.user(user_of(1), first_name="see http://spam.example.com")
    rig.user(user_of(2), last_name="www.spam.example.com", image_url="nor this")
    rig.user(user_of(3), image_url="neither this", metadata={"tier": "x"})


def new_rule(rig: BulkRig) -> None:
    """No one has changed, but everybody gets another tag and loses one."""
    rig.cycle()
    rig.rotate(NAME, tags=["member"])


ALL_BY_BULK = (first_sync, changes, new_rule)
STORIES = (*ALL_BY_BULK, other_kinds, refusals)


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_a_plan_by_bulk_ends_as_one_by_one(both: tuple[BulkRig, BulkRig], story: Story) -> None:
    bulk, paced = both
    for each in both:
        each.by_bulk = False
        story(each)
    bulk.by_bulk = True
    planned, other = bulk.plan(), paced.plan()
    assert planned.plan.summary == other.plan.summary
    assert outcomes(bulk.apply(planned)) == outcomes(paced.apply(other))
    assert bulk.acme.counts["bulkOperationRunMutation"] > 0
    check_same(bulk, paced)


def test_what_was_taken_since_the_plan_was_made_is_decided_as_one_by_one(both: tuple[BulkRig, BulkRig]) -> None:
    """A phone leaves the rest of the patch alone; an address makes the user observed again, and so adopted."""
    for each in both:
        planned = each.plan()
        each.acme.staff("create", phone="+16134505001", email="stranger@x.example.com")
        each.acme.staff("create", email="person2@x.example.com", note="a guest")
        found = outcomes(each.apply(planned))
        assert {user: result for user, (_, result) in found.items() if result != "applied"} == {}
    check_same(*both)
    for each in both:
        shown = {c.backlink: c for c in each.people(NAME).values()}
        assert (shown[user_of(1)].phone, shown[user_of(1)].email) == (None, "person1@x.example.com")
        assert shown[user_of(2)].note == "a guest"


def test_phones_change_owners_in_a_plan_that_goes_by_bulk(tmp_path: Path) -> None:
    with BulkRig(tmp_path, fields={"phone": "enforce"}) as rig:
        populate(rig, PEOPLE)
        rig.cycle()
        before = {c.backlink: (c.id, c.phone) for c in rig.people(NAME).values()}
        users = [user_of(n) for n in range(PEOPLE)]
        ring = {**dict(zip(users[:5], users[1:5] + users[:1], strict=True)), users[5]: users[6]}
        for user in users:
            rig.user(user, last_name="New", phone=before[ring[user]][1] if user in ring else before[user][1])
        rig.user(users[6], phone=None)
        assert {o.result for o in rig.apply(rig.plan())} == {"applied"}
        assert rig.acme.counts["bulkOperationRunMutation"] > 1
        shown = {c.backlink: (c.id, c.phone) for c in rig.people(NAME).values()}
        assert {user: shown[user] for user in ring} == {u: (before[u][0], before[o][1]) for u, o in ring.items()}
        assert shown[users[6]] == (before[users[6]][0], None)
        check_at_rest(rig)


# --- deaths --------------------------------------------------------------------------------------------------------


def crossings_of(folder: Path, story: Story) -> int:
    """How many moments there are at which the process may die."""
    with BulkRig(folder) as rig:
        prepared(rig, story)
        before = rig.files.crossings
        rig.cycle()
        return rig.files.crossings - before


def prepared(rig: BulkRig, story: Story) -> None:
    populate(rig, PEOPLE)
    rig.by_bulk = False
    story(rig)
    rig.by_bulk = True


@pytest.mark.parametrize("story", [first_sync, changes], ids=["first_sync", "changes"])
@pytest.mark.slow
def test_a_run_that_dies_at_any_moment_ends_the_same(tmp_path: Path, story: Story) -> None:
    """Some of the moments, other ones for each story; all of them are tried by `make explore`."""
    check_deaths(tmp_path, story, step=47, first=3 if story is first_sync else 8)


@pytest.mark.explore
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_a_run_that_dies_at_each_single_moment_ends_the_same(tmp_path: Path, story: Story) -> None:
    check_deaths(tmp_path, story, step=1, first=0)


def check_deaths(tmp_path: Path, story: Story, *, step: int, first: int) -> None:
    with BulkRig(tmp_path / "whole") as whole:
        prepared(whole, story)
        whole.cycle()
        wanted, rows_wanted = customers(whole), rows(whole)
        check_at_rest(whole)
    moments = crossings_of(tmp_path / "counted", story)
    assert moments > 60
    for moment in range(first, moments, step):
        with BulkRig(tmp_path / f"dies-{moment}") as rig:
            prepared(rig, story)
            with rig.killed_after(moment):
                rig.cycle()
            found = [rig.cycle(), rig.cycle()]
            said = f"{story.__name__}: died at moment {moment} of {moments}"
            assert [o for cycle in found for o in cycle.failures] == [], said
            assert customers(rig) == wanted, said
            # who dies between a single call and its row does not know that the values were theirs
            if story in ALL_BY_BULK:
                assert rows(rig) == rows_wanted, said
            check_at_rest(rig)
