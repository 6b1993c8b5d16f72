"""The policy of a store as the state keeps it: all that reaches the stores wave by wave, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue

from reconciler.core.fields.policy import kept_digest, policy_differences, policy_digest, policy_document, with_policy
from reconciler.core.model.store import PolicyChange, Store
from reconciler.settings import StoreSettings
from tests.core.people import store

COLUMNS = {"clerk_user_id": "id", "email": "mail"}
AT_ONCE = {"name", "shop", "wave", "guards", "accept", "heal_drift", "roll_out", "paused"}
POLICY: dict[str, Any] = {
    "where": {"metadata.brand": "acme", "locale": ["en", "de"], "email_verified": True},
    "backlink": {"namespace": "acme", "key": "user"},
    "fields": {"phone": "enforce"},
    "tags": ["vip"],
    "metafields": {"app.tier": {"from": "metadata.tier", "policy": "fill"}},
    "consent": {"sms": {"from": "metadata.news", "at": "metadata.news_at"}},
    "country": "DK",
    "require_email": False,
    "on_leave": "tag",
    "leave_tag": "left",
    "on_email_conflict": "merge",
    "on_missing": "hold",
    "trust_email": "always",
}


def test_each_key_of_a_store_goes_in_waves_or_counts_at_once() -> None:
    assert set(Store.model_fields) == set(PolicyChange.__annotations__) | AT_ONCE
    assert set(POLICY) == set(PolicyChange.__annotations__)
    access = set(StoreSettings.model_fields) - set(Store.model_fields)
    assert access.isdisjoint(policy_document(store(), COLUMNS)), "no secret and no address is kept"


def test_a_kept_policy_gives_the_store_that_it_was_and_its_own_switches() -> None:
    before, now = store(**POLICY), store(paused=True, wave=2)
    kept = policy_document(before, COLUMNS)
    found = with_policy(now, kept)
    assert found is not None
    assert policy_document(found, COLUMNS) == kept
    assert (found.paused, found.wave, found.where) == (True, 2, POLICY["where"])
    assert kept_digest(now, kept) == policy_digest(before, COLUMNS) != policy_digest(now, COLUMNS)


@pytest.mark.parametrize(
    "spoil",
    [{"fields": {"shoe_size": "enforce"}}, {"on_leave": "burn"}, {"more": 1}, {"columns": None}],
    ids=lambda spoil: next(iter(spoil)),
)
def test_a_policy_that_this_version_can_not_read_is_no_policy(spoil: dict[str, Any]) -> None:
    kept = {**policy_document(store(), COLUMNS), **spoil}
    assert with_policy(store(), kept) is None
    assert kept_digest(store(), kept) is None


def test_a_policy_of_a_version_with_fewer_keys_is_read_with_defaults() -> None:
    kept = policy_document(store(), COLUMNS)
    del kept["on_missing"]
    assert kept_digest(store(), kept) == policy_digest(store(), COLUMNS)


def test_two_policies_differ_in_named_keys() -> None:
    before: dict[str, JsonValue] = {
        "tags": ["a", "b"],
        "where": {"plan": ["pro"], "old": 1},
        "country": None,
        "columns": {"email": "email"},
    }
    after: dict[str, JsonValue] = {
        "tags": ["a", "c"],
        "where": {"plan": "pro"},
        "country": "GB",
        "columns": {"email": "mail"},
        "metafields": {},
    }
    assert [(each.key, each.before, each.after) for each in policy_differences(before, after)] == [
        ("columns.email", "email", "mail"),
        ("country", None, "GB"),
        ("metafields", None, {}),
        ("tags", ["a", "b"], ["a", "c"]),
        ("where.old", 1, None),
        ("where.plan", ["pro"], "pro"),
    ]
    assert policy_differences(after, after) == ()
