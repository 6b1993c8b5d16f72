"""From a profile and a policy to what a customer should be."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.fields.desired import config_digest, digest, is_wanted, profile_digest, spec_of, used_digest
from reconciler.core.model.profile import Problem
from tests.core.people import ADA, NOW, profile, store

ada = profile(ADA)


def test_an_email_of_which_the_verification_cannot_be_read_is_held_with_that_cause() -> None:
    unread = Problem(field="email_verified", message="email_verified is neither yes nor no")
    (doubt,) = spec_of(profile(ADA, email_verified=None, problems=(unread,)), store()).doubts
    assert (doubt.field, doubt.reason) == ("email", "EmailUnverified")
    assert "is unknown (email_verified is neither yes nor no)" in doubt.message


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({}, True),
        ({"locale": "de"}, True),
        ({"locale": ["en", "de"]}, True),
        ({"locale": "en"}, False),
        ({"locale": "de", "note": "no"}, False),
        ({"metadata.brand": "acme"}, True),
        ({"metadata.brands": "acme"}, True),
        ({"metadata.brand.name": "acme"}, False),
        ({"metadata.none": "acme"}, False),
        ({"metadata.none": None}, True),
        ({"metadata.level": 3}, True),
        ({"metadata.level": "3"}, True),
        ({"metadata.beta": True}, True),
        ({"metadata.beta": "true"}, False),
        ({"metadata.said": True}, True),
        ({"metadata.level": True}, False),
        ({"email_verified": True}, True),
    ],
)
def test_a_selector_reads_columns_and_metadata_and_a_list_means_any_of_these(
    where: dict[str, Any], wanted: bool  # noqa: FBT001  a case
) -> None:  # fmt: skip
    metadata = {"brand": "acme", "brands": ["other", "acme"], "level": 3, "beta": True, "said": "TRUE"}
    assert is_wanted(profile(ADA, locale="de", metadata=metadata), store(where=where)) is wanted


def test_no_store_wants_a_user_who_is_gone() -> None:
    assert is_wanted(None, store()) is False
    assert is_wanted(profile(ADA, deleted=True), store()) is False


def test_an_unreadable_column_that_decides_gives_no_answer() -> None:
    unsure = profile(ADA, problems=({"field": "metadata", "message": "no JSON"},))
    assert is_wanted(unsure, store(where={"metadata.brand": "acme"})) is None
    assert is_wanted(unsure, store()) is True


def test_a_table_without_deleted_at_is_no_doubt() -> None:
    assert is_wanted(profile(ADA, mapped=frozenset({"email"})), store()) is True


def test_absent_null_and_ignored_are_three_things() -> None:
    spec = spec_of(profile(ADA, mapped=frozenset({"email", "first_name"}), first_name=None), store())
    assert spec.fields["first_name"].value is None
    assert "last_name" not in spec.fields
    assert "note" not in spec_of(profile(ADA, note="x"), store()).fields
    assert spec.value("last_name") is None


def test_a_field_says_by_which_policy_and_by_which_rule() -> None:
    spec = spec_of(profile(ADA, phone="+16134505293"), store(fields={"phone": "enforce"}))
    assert spec.fields["phone"].policy == "enforce"
    other = spec_of(profile(ADA, phone="+16134505293"), store(fields={"phone": "enforce"}, country="CA"))
    assert spec.fields["phone"].config != other.fields["phone"].config


def test_an_ignored_field_that_can_t_be_read_is_no_doubt_but_the_email_is() -> None:
    broken = profile(ADA, email=None, problems=({"field": "email", "message": "b"}, {"field": "note", "message": "b"}))
    spec = spec_of(broken, store(fields={"email": "ignore"}))
    assert [(d.field, d.reason) for d in spec.doubts] == [("email", "EmailInvalid")]
    assert spec.lookup_email is None


def test_what_is_wrong_with_a_row_is_said_once_and_names_the_fields() -> None:
    one = profile(ADA, problems=({"field": "first_name", "message": "first_name is a number, not text"},))
    assert [(d.field, d.message) for d in spec_of(one, store()).doubts] == [
        ("first_name", "first_name is a number, not text")
    ]
    words = "full_name is a number, not text"
    two = profile(ADA, problems=tuple({"field": f, "message": words} for f in ("first_name", "last_name")))
    assert [d.message for d in spec_of(two, store()).doubts] == [f"first_name, last_name: {words}"]


def test_an_unreadable_phone_is_held_as_a_phone() -> None:
    spec = spec_of(profile(ADA, problems=({"field": "phone", "message": "b"},)), store())
    assert [(d.field, d.reason) for d in spec.doubts] == [("phone", "PhoneInvalid")]


def test_a_note_has_its_own_limit() -> None:
    keeps_notes = store(fields={"note": "enforce"})
    assert spec_of(profile(ADA, note="x" * 5000), keeps_notes).value("note") == "x" * 5000
    spec = spec_of(profile(ADA, note="x" * 5001), keeps_notes)
    assert [(d.field, d.reason) for d in spec.doubts] == [("note", "Rejected")]


@pytest.mark.parametrize(
    ("trust", "verified", "found"),
    [
        ("verified", True, True),
        ("verified", False, False),
        ("verified", None, False),
        ("always", None, True),
        ("never", True, False),
    ],
)
def test_an_address_finds_customers_only_where_it_is_trusted(trust: str, *, verified: bool | None, found: bool) -> None:
    spec = spec_of(profile(ADA, email_verified=verified), store(trust_email=trust))
    assert (spec.lookup_email is not None) is found


def _metafield(source: str, **rule: Any) -> dict[str, Any]:
    return {"metafields": {"clerk.extra": {"from": source, **rule}}}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("image_url", "https://img.example.com/1.png"),
        ("clerk_user_id", ADA),
        ("metadata.level", "3"),
        ("metadata.tree", '{"a": 1, "b": 2}'),
        ("metadata.none", None),
        ("last_name", None),
    ],
)
def test_a_metafield_takes_its_value_from_anywhere_in_the_row(source: str, value: str | None) -> None:
    row = profile(ADA, image_url=" https://img.example.com/1.png", metadata={"level": 3, "tree": {"b": 2, "a": 1}})
    assert spec_of(row, store(**_metafield(source))).value("metafields.clerk.extra") == value


def test_a_metafield_of_a_column_that_is_absent_unreadable_or_ignored_is_none_of_our_business() -> None:
    absent = profile(ADA, mapped=frozenset({"email"}))
    broken = profile(ADA, problems=({"field": "image_url", "message": "b"},))
    for row, rule in ((absent, {}), (broken, {}), (ada, {"policy": "ignore"})):
        assert "metafields.clerk.extra" not in spec_of(row, store(**_metafield("image_url", **rule))).fields
    doubts = spec_of(broken, store(**_metafield("image_url"))).doubts
    assert [(d.field, d.reason) for d in doubts] == [("image_url", "ProfileInvalid")]
    assert spec_of(broken, store(**_metafield("image_url", policy="ignore"))).doubts == ()


def test_digests_tell_what_moved_and_nothing_else() -> None:
    assert profile_digest(ada) == profile_digest(profile(ADA, updated_at=NOW))
    assert profile_digest(ada) != profile_digest(profile(ADA, note="x"))
    assert profile_digest(None) != profile_digest(ada)
    assert config_digest(store()) != config_digest(store(trust_email="always"))
    assert config_digest(store()) != config_digest(store(tags=["a"]))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest("\ud800") != digest("\ud801")


def test_which_columns_a_table_has_does_not_move_a_profile() -> None:
    known = frozenset({"email", "first_name", "email_verified"})
    assert profile_digest(ada) == profile_digest(ada.model_copy(update={"mapped": known}))


NEWS = {"email": {"from": "metadata.news", "at": "metadata.asked.at"}}
PLAN = {"app.plan": {"from": "metadata.plan.name"}}


@pytest.mark.parametrize(
    ("policy", "values", "counts"),
    [
        ({}, {"email": "other@x.example.com"}, True),
        ({}, {"email_verified": False}, True),
        ({}, {"deleted": True}, True),
        ({}, {"phone": "+4930123456"}, True),
        ({}, {"problems": (Problem(field="phone", message="is a list"),)}, True),
        ({"where": {"metadata.brand": "acme"}}, {"metadata": {"brand": "acme"}}, True),
        ({"metafields": PLAN}, {"metadata": {"plan": {"name": "gold"}}}, True),
        ({"metafields": {"app.face": {"from": "image_url"}}}, {"image_url": "https://a.example/1"}, True),
        ({"consent": NEWS}, {"metadata": {"news": True}}, True),
        ({"consent": NEWS}, {"metadata": {"asked": {"at": "2026-11-01"}}}, True),
        ({}, {"updated_at": NOW}, False),
        ({}, {"image_url": "https://a.example/1"}, False),
        ({"fields": {"note": "ignore"}}, {"note": "of the app"}, False),
        ({"metafields": PLAN}, {"metadata": {"plan": {"since": 2026}, "visited_at": 1}}, False),
        (
            {"metafields": {"app.plan": PLAN["app.plan"] | {"policy": "ignore"}}},
            {"metadata": {"plan": {"name": 1}}},
            False,
        ),
        ({}, {"problems": (Problem(field="image_url", message="is a list"),)}, False),
    ],
)
def test_a_row_counts_as_changed_by_what_its_store_uses(
    policy: dict[str, Any], values: dict[str, Any], counts: bool  # noqa: FBT001  a case
) -> None:  # fmt: skip
    where = store(**policy)
    assert (used_digest(profile(ADA, **values), where) != used_digest(ada, where)) is counts
