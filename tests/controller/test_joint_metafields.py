"""Metafields of several new customers share one call, and no one is the worse for it."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.model.event import Event
from reconciler.core.model.mapping import BACKLINK
from reconciler.core.model.store import Store
from tests.core.people import store
from tests.inprocess import Rig

PEOPLE = 30
RULES = {
    "clerk.avatar": {"from": "image_url", "type": "url"},
    "clerk.tier": {"from": "metadata.tier"},
}
OURS = {"email", "first_name", "tags", BACKLINK, *(f"metafields.{name}" for name in RULES)}
A_CALL = 12  # users: 24 of 25 values


def acme(**policy: Any) -> Store:
    guards = {k: {"max": 99} for k in ("update", "relink", "merge", "release")}
    return store(**{"guards": guards, "tags": ["app-user"], "metafields": RULES, **policy})


@pytest.fixture
def components(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, acme()) as made:
        populate(made)
        yield made


def populate(components: Rig, count: int = PEOPLE) -> None:
    for n in range(count):
        components.user(
            f"user_{n:02}",
            email=f"person{n}@x.example.com",
            first_name=f"Person {n}",
            image_url=f"https://img.example.com/{n}.png",
            metadata={"tier": "gold"},
        )


def all_there(components: Rig, count: int = PEOPLE) -> None:
    shown = {c.backlink: c for c in components.people("acme").values()}
    assert len(shown) == count
    for n in range(count):
        person = shown[f"user_{n:02}"]
        assert (person.email, person.first_name, person.tags) == (
            f"person{n}@x.example.com", f"Person {n}", ("app-user",)
        )  # fmt: skip
        assert person.metafields == {"clerk.avatar": f"https://img.example.com/{n}.png", "clerk.tier": "gold"}
    assert {m.status for m in components.mappings("acme")} == {"in_sync"}
    assert all({f for f, a in m.applied.items() if a.ours} == OURS for m in components.mappings("acme"))


def check_at_rest(components: Rig) -> None:
    cycle = components.cycle()
    assert (cycle.mutations, cycle.planned.plan.summary.actions) == (0, 0)


def events(components: Rig) -> list[Event]:
    return components.state.events(limit=10_000)


def test_new_customers_with_metafields_cost_little_more_than_ten_points_each(components: Rig) -> None:
    cycle = components.cycle()
    assert [o.result for o in cycle.outcomes] == ["applied"] * PEOPLE
    assert cycle.mutations == PEOPLE + ceil(PEOPLE / A_CALL)
    all_there(components)
    check_at_rest(components)


def test_what_each_customer_got_is_reported_once(components: Rig) -> None:
    components.cycle()
    told = [(e.clerk_user_id, c.field) for e in events(components) for c in e.changes]
    assert len(told) == len(set(told)) == PEOPLE * 6  # address, name, back-link, tags and two metafields


@pytest.mark.parametrize("kind", ["lost_before", "lost_after", "internal_error", "internal_error_after", "truncated"])
def test_an_answer_that_is_lost_makes_each_of_them_observed_again(components: Rig, kind: Any) -> None:
    components.sim("acme").faults.add(kind, on="metafieldsSet")
    cycle = components.cycle()
    assert [o.result for o in cycle.outcomes] == ["applied"] * PEOPLE
    all_there(components)
    check_at_rest(components)


def test_a_value_that_is_refused_harms_only_its_owner(components: Rig) -> None:
    components.user("user_07", metadata={"tier": "gold"}, image_url="no address at all")
    cycle = components.cycle()
    by_user = {o.action.clerk_user_id: o for o in cycle.outcomes}
    assert {u: o.result for u, o in by_user.items() if o.result != "applied"} == {}
    shown = {c.backlink: c for c in components.people("acme").values()}
    assert shown["user_07"].metafields == {"clerk.tier": "gold"}
    assert all(len(c.metafields) == 2 for u, c in shown.items() if u != "user_07")
    held = components.plan().plan.stores[0].holds
    assert [(h.clerk_user_id, h.field, h.reason) for h in held] == [
        ("user_07", "metafields.clerk.avatar", "Rejected")
    ]  # fmt: skip
    check_at_rest(components)


def test_a_customer_that_goes_away_in_between_harms_no_one_else(components: Rig) -> None:
    gone: list[str] = []

    def staff(roots: tuple[str, ...], _variables: dict[str, Any]) -> None:
        made = components.of_user("acme", "user_05")
        if "customerSet" in roots and made is not None and not gone:
            gone.append(made.id)
            components.sim("acme").staff("delete", id=made.id)

    components.transport.seen = staff
    cycle = components.cycle()
    assert gone
    assert {o.result for o in cycle.outcomes} == {"applied"}
    all_there(components)
    check_at_rest(components)


def test_a_store_that_closes_in_between_is_reported_for_every_user(components: Rig) -> None:
    components.sim("acme").faults.add("missing_scope", on="metafieldsSet", times=None)
    cycle = components.cycle()
    assert len(cycle.outcomes) == PEOPLE
    assert {o.result for o in cycle.outcomes} == {"failed"}
    assert {m.status for m in components.mappings("acme")} == {"pending"}
    components.sim("acme").faults.clear()
    components.cycle()
    all_there(components)


@pytest.mark.matrix
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("mutation", [1, 2, 14, 30, 31, 32, 33])
def test_a_run_that_dies_in_between_is_healed_by_the_next_cycle(tmp_path: Path, mutation: int, when: str) -> None:
    with Rig(tmp_path, acme()) as components:
        populate(components)
        with components.dying(mutation, after=when == "after"):
            components.cycle()
        components.cycle()
        shown = {c.backlink: c for c in components.people("acme").values()}
        assert len(shown) == PEOPLE
        assert all(len(c.metafields) == 2 for c in shown.values())
        check_at_rest(components)
