"""Actions that were refused as a whole: held until profile, policy or customer change, or a person asks, once."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.decide.refused import WHOLE, whole_digest
from reconciler.core.model.mapping import Mapping, RefusedValue
from reconciler.core.model.store import Store
from reconciler.core.model.view import Decision
from tests.core.people import ADA, after, customer, decided, held, kind, profile, same, settled, store

ada = profile(ADA)
moved = profile(ADA, email="new@x.example.com")
gone = profile(ADA, deleted=True)
there = same(ada)
theirs = customer(9, email="new@x.example.com", first_name="Guest")
merging = store(on_email_conflict="merge")


def refused(decision: Decision, policy: Store, *, asked: bool = False) -> Mapping:
    """The row after this decision's action was refused as a whole."""
    assert decision.action is not None
    value = RefusedValue(
        digest=whole_digest(decision.action, decision, policy), message="one has gift cards", asked=asked
    )
    return settled(ada, there, refused={WHOLE: value})


def merged(row: Mapping, who: Any = moved, policy: Store = merging, **seen: Any) -> Decision:
    view: dict[str, Any] = {"mapped": there, "by_email": theirs, "merge_blockers": (), **seen}
    return decided(who, row, policy, explicit=view.pop("explicit", False), **view)


def test_a_refused_merge_is_held_with_its_cause_and_the_rest_is_written() -> None:
    row = refused(merged(settled(ada, there)), merging)
    found = merged(row)
    assert (found.action, held(found)) == (None, {("EmailConflict", "email")})
    assert "one has gift cards" in found.holds[-1].message
    later = profile(ADA, email="new@x.example.com", last_name="B")
    wanted = merged(settled(ada, there), later)
    assert after(merged(refused(wanted, merging), later)) == {"last_name": "B"}


@pytest.mark.parametrize(
    "seen",
    [
        {"who": profile(ADA, email="new@x.example.com", first_name="Again")},
        {"policy": store(on_email_conflict="merge", tags=["vip"])},
        {"by_email": theirs.model_copy(update={"tags": ("fewer",)})},
        {"mapped": there.model_copy(update={"note": "shorter"})},
        {"explicit": True},
    ],
)
def test_a_refused_merge_is_tried_again_when_something_has_moved_or_a_person_asks(seen: dict[str, Any]) -> None:
    assert kind(merged(refused(merged(settled(ada, there)), merging), **seen)) == "merge"


def test_a_person_asks_once() -> None:
    row = refused(merged(settled(ada, there)), merging, asked=True)
    assert merged(row, explicit=True).action is None


@pytest.mark.parametrize("how", ["erase", "keep"])
def test_a_refused_release_is_held_until_the_customer_moves(how: str) -> None:
    policy = store(on_leave=how)
    at = there.model_copy(update={"can_delete": True})
    row = refused(decided(gone, settled(ada, at), policy, mapped=at), policy)
    found = decided(gone, row, policy, mapped=at)
    assert (found.action, held(found), found.status) == (None, {("Rejected", None)}, "held")
    assert "Shopify refused the release: one has gift cards" in found.holds[0].message
    edited = at.model_copy(update={"note": "by staff"})
    assert kind(decided(gone, row, policy, mapped=edited)) == "release"
