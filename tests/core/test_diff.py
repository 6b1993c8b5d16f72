"""The three-way diff of spec, observed customer and last-applied fields."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.fields.desired import spec_of
from reconciler.core.fields.diff import changes_between, comparable, observed_value, owned_tags
from reconciler.core.model.action import Change
from reconciler.core.model.mapping import AgreedTags, Applied, Intent, Mapping, RefusedValue
from reconciler.core.model.store import Store
from tests.core.people import ADA, customer, mapping, profile, same, settled, store

ada = profile(ADA, last_name="Byron")
LONG = "metafields.clerk.level"


def diff(who: Any, there: Any, row: Mapping | None, policy: Store | None = None) -> dict[str, Change]:
    return {c.field: c for c in changes_between(spec_of(who, policy or store()), there, row)}


@pytest.mark.parametrize(
    ("policy", "there", "written"),
    [
        ("enforce", None, True),
        ("enforce", "Staff", True),
        ("fill", None, True),
        ("fill", "  ", True),
        ("fill", "Staff", False),
        ("create_only", None, False),
        ("create_only", "Staff", False),
        ("ignore", None, False),
        ("ignore", "Staff", False),
    ],
)
def test_each_field_policy_writes_what_it_says(policy: str, there: str | None, *, written: bool) -> None:
    rules = store(fields={"last_name": policy})
    assert ("last_name" in diff(ada, same(ada, last_name=there), None, rules)) is written


@pytest.mark.parametrize(
    ("field", "there"),
    [("email", "USER_ADA@X.example.com"), ("last_name", " Byron "), ("phone", "+1 613 450 5293")],
)
def test_what_shopify_only_spells_otherwise_is_no_difference(field: str, there: str) -> None:
    who = profile(ADA, last_name="Byron", phone="+16134505293")
    observed = same(who).model_copy(update={field: there})
    assert diff(who, observed, None) == {}


def test_a_value_that_we_never_set_is_never_cleared() -> None:
    nameless = profile(ADA, last_name=None)
    there = same(nameless, last_name="Staff")
    assert diff(nameless, there, None) == {}
    assert diff(nameless, there, settled(nameless, there)) == {}
    agreed = Applied(value="Staff", ours=False)
    assert diff(nameless, there, mapping(ADA, applied={"last_name": agreed})) == {}


def test_a_value_of_ours_is_cleared_when_the_profiles_becomes_null() -> None:
    found = diff(profile(ADA, last_name=None), same(ada), settled(ada, same(ada)))
    assert (found["last_name"].before, found["last_name"].after) == ("Byron", None)
    assert found["last_name"].why == "profile changed"


def test_a_value_of_ours_that_staff_have_changed_is_theirs_and_not_cleared() -> None:
    assert diff(profile(ADA, last_name=None), same(ada, last_name="Staff"), settled(ada, same(ada))) == {}


def test_the_email_is_never_cleared() -> None:
    assert diff(profile(ADA, email=None), same(ada), settled(ada, same(ada))).get("email") is None


def test_a_filled_value_is_never_taken_back() -> None:
    rules = store(fields={"last_name": "fill"})
    assert diff(profile(ADA, last_name=None), same(ada), settled(ada, same(ada), rules), rules) == {}


@pytest.mark.parametrize(
    ("later", "there", "rules", "why"),
    [
        ("Lovelace", "Byron", {}, "profile changed"),
        ("Byron", "Staff", {}, "drift"),
        ("Lovelace", "Staff", {}, "profile changed"),
    ],
)
def test_each_change_says_who_moved(later: str, there: str, rules: dict[str, Any], why: str) -> None:
    found = diff(profile(ADA, last_name=later), same(ada, last_name=there), settled(ada, same(ada)), store(**rules))
    assert found["last_name"].why == why


def test_a_field_that_the_config_has_just_taken_on_is_a_config_change() -> None:
    who = profile(ADA, note="hello")
    row = settled(who, same(who))
    found = diff(who, same(who, note=None), row, store(fields={"note": "enforce"}))
    assert found["note"].why == "config changed"


def test_a_value_that_was_refused_is_no_change_of_the_config() -> None:
    who = profile(ADA, note="hello")
    policy = store(fields={"note": "enforce"})
    row = settled(who, same(who), refused={"note": RefusedValue(digest="d")})
    assert diff(who, same(who, note=None), row, policy)["note"].why == "profile changed"


def test_another_rule_that_gives_another_value_is_a_config_change() -> None:
    def rule(source: str) -> dict[str, Any]:
        return {"metafields": {"clerk.level": {"from": source}}}

    who = profile(ADA, metadata={"a": "1", "b": "2"})
    there = same(who, 7, store(**rule("metadata.a")))
    row = settled(who, there, store(**rule("metadata.a")))
    assert diff(who, there, row, store(**rule("metadata.b")))[LONG].why == "config changed"


def test_who_was_never_agreed_on_anything_is_new() -> None:
    assert diff(ada, customer(7), mapping(ADA))["last_name"].why == "profile changed"


def test_a_half_done_step_of_ours_is_never_called_drift() -> None:
    row = settled(ada, same(ada), intent=Intent(kind="relink"))
    assert diff(ada, same(ada, last_name="Staff"), row)["last_name"].why == "profile changed"


def test_a_field_that_was_not_shown_is_unknown_and_never_blank() -> None:
    hidden = same(ada, last_name=None, tags=(), unknown=dict.fromkeys(("last_name", "tags"), "more"))
    assert diff(ada, hidden, settled(ada, same(ada)), store(tags=["a"])) == {}


# --- tags ----------------------------------------------------------------------------------------------------------


def tags(who: Any, there: tuple[str, ...], row: Mapping | None, *wanted: str) -> tuple[Any, Any, str] | None:
    policy = store(tags=wanted)
    found = diff(who, same(who, 7, policy, tags=there), row, policy).get("tags")
    return None if found is None else (found.before, found.after, found.why)


def owning(*owned: str, agreed: tuple[str, ...] = (), **values: Any) -> Mapping:
    value = AgreedTags(owned=owned, agreed=agreed)
    return mapping(ADA, applied={"tags": Applied(value=value, ours=bool(owned))}, **values)


def test_our_tags_are_added_to_those_that_are_there() -> None:
    assert tags(ada, ("vip",), None, "app-user") == (["vip"], ["app-user", "vip"], "profile changed")


def test_a_tag_that_is_there_in_another_casing_is_there() -> None:
    assert tags(ada, ("APP-User",), None, "app-user") is None


def test_a_tag_of_ours_that_is_wanted_no_more_goes_and_others_stay() -> None:
    found = tags(ada, ("vip", "Old"), owning("old", agreed=("old",)), "new")
    assert found == (["Old", "vip"], ["new", "vip"], "config changed")


def test_a_tag_that_staff_had_set_before_us_is_never_taken_off() -> None:
    assert tags(ada, ("vip",), owning(agreed=("vip",))) is None


def test_a_tag_of_ours_that_staff_took_off_is_drift() -> None:
    assert tags(ada, (), owning("app-user", agreed=("app-user",)), "app-user") == ([], ["app-user"], "drift")


def test_a_missing_tag_in_the_middle_of_our_own_step_is_no_drift() -> None:
    row = owning("app-user", agreed=("app-user",), intent=Intent(kind="relink"))
    assert tags(ada, (), row, "app-user") == ([], ["app-user"], "profile changed")


def test_the_tags_we_own_are_those_the_row_says() -> None:
    assert owned_tags(owning("a", "b")) == ("a", "b")
    assert owned_tags(mapping(ADA)) == ()
    assert owned_tags(None) == ()


def test_where_a_backlink_was_followed_nothing_there_is_ours_to_take_away() -> None:
    policy = store(tags=["app-user"])
    row = settled(ada, same(ada, 7, policy), policy)
    kept = same(ada, 9, policy, tags=("app-user", "vip"))
    assert diff(profile(ADA, last_name=None), kept, row, store()) == {}


# --- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("email", "A@x.com", " a@X.com"),
        ("phone", "+1 613", "+1613"),
        ("note", "a\r\nb", "a\nb "),
        ("locale", "en_us", "EN-US"),
        ("first_name", "Ada", " Ada"),
        ("last_name", "", None),
        ("metafields.clerk.x", " 1", "1"),
    ],
)
def test_values_count_after_shopifys_own_normalisation(field: str, one: str, other: str | None) -> None:
    assert comparable(field, one) == comparable(field, other)


def test_what_a_customer_shows_of_a_field() -> None:
    there = customer(7, first_name="Ada", metafields={"clerk.level": "3"})
    assert observed_value(there, "first_name") == "Ada"
    assert observed_value(there, LONG) == "3"
    assert observed_value(there, "metafields.clerk.none") is None
