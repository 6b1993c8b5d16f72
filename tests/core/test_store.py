"""The policy of a store: what is refused when it is read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from reconciler.core.model.store import Accepted, MetafieldRule
from tests.core.people import ADA, BOB, NOW, store


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"shop": "https://acme.myshopify.com"}, "is not a shop domain"),
        ({"shop": "acme.example.com"}, "is not a shop domain"),
        ({"tags": ["a,b"]}, "contains a comma"),
        ({"tags": ["VIP", "vip "]}, "is listed twice"),
        ({"metafields": {"x.y": {"from": "locale"}}}, "is not NAMESPACE.KEY"),
        ({"metafields": {f"clerk.{'k' * 65}": {"from": "locale"}}}, "is not NAMESPACE.KEY"),
        ({"metafields": {f"{'n' * 256}.tier": {"from": "locale"}}}, "is not NAMESPACE.KEY"),
        ({"metafields": {"avatar": {"from": "locale"}}}, "is not NAMESPACE.KEY"),
        ({"metafields": {f"clerk.k{i}": {"from": "locale"} for i in range(25)}}, "more than 24 metafields"),
        ({"metafields": {"clerk.extra": {"from": "nonsense"}}}, "is not a field of a profile"),
        ({"accept": [{"user": "u", "fields": ["nonsense"], "until": "2026-12-01", "why": "x"}]}, "is not a field"),
        ({"accept": [{"user": "u", "fields": [], "until": "2026-12-01", "why": "x"}]}, "at least 1"),
        ({"guards": {"create": {"max": -1}}}, "greater than or equal"),
        ({"country": "Canada"}, "pattern"),
        ({"metafields": {"clerk.user_id": {"from": "image_url"}}}, "which can.t have a rule"),
        ({"leave_tag": "gone,left"}, "contains a comma"),
        ({"leave_tag": "VIP", "tags": ["vip"]}, "is also in tags"),
        ({"unknown": 1}, "not permitted"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_with_the_reason(policy: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        store(**policy)


@pytest.mark.parametrize("source", ["image_url", "clerk_user_id", "email", "metadata.a.b"])
def test_a_metafield_may_come_from_any_column_or_from_metadata(source: str) -> None:
    assert MetafieldRule.model_validate({"from": source}).source == source


def test_agreements_are_looked_up_by_user_and_time() -> None:
    accept = [
        {"user": ADA, "fields": ["note", "tags"], "until": "2026-12-01", "why": "x"},
        {"user": ADA, "fields": ["metafields.clerk.x"], "until": "2026-11-01", "why": "over"},
        {"user": BOB, "fields": ["backlink"], "until": "2026-12-01", "why": "x"},
    ]
    policy = store(accept=accept)
    assert policy.accepts(ADA, NOW).keys() == {"note", "tags"}
    assert policy.accepts(BOB, NOW).keys() == {"backlink"}
    assert isinstance(policy.accept[0], Accepted)


def test_metafields_of_24_rules_fit_beside_the_backlink() -> None:
    assert len(store(metafields={f"clerk.k{i}": {"from": "locale"} for i in range(24)}).metafields) == 24
