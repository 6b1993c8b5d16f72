"""Properties of the core, over nasty words and every way in which Shopify may treat them.

After a write the plan is empty; the order of what comes in does not matter; values of others are not touched.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from typing import Any

import pytest
from hypothesis import assume, given, note
from hypothesis import strategies as st

from reconciler.core.fields import normalise
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.plan.plan import build_plan
from tests.core.model import ALL_WAYS, ModelWorld, Ways
from tests.core.people import NOW, customer, profile, store

USERS = tuple(ClerkUserId(f"user_{c}") for c in "Aab")
NASTY = ("", " ", " Ada\t", "O'Neil", "ﬁ", "İstanbul", "ß", "SS", "健三郎", "👩‍🚀", "\u00a0", "a,b", "Ada\r\nLovelace")
PHONES = (
    "+1 (613) 450-5293", "+16134505293", "613 450 5293", "+41 44 668 18 00", "044 668 18 00", "12", "+1613450529312345",
    "+1 613 450 5293 ext. 7", "٠٤٤٦٦٨١٨٠٠", " ",
)  # fmt: skip

names = st.one_of(st.none(), st.sampled_from(NASTY), st.text(max_size=12), st.just("n" * 300))
pool = st.sampled_from(
    ["ada@x.example.com", "Ada@X.example.com ", "bob@x.example.com", "bob+1@x.example.com", "é@x.example.com"]
)
addresses = st.one_of(
    st.none(), pool, pool, st.emails(), st.sampled_from(["", "no-address", "a b@x.example.com", "a@b"])
)
phones = st.one_of(st.none(), st.sampled_from(PHONES))
notes = st.one_of(st.none(), st.sampled_from(["", " ", "one\r\ntwo ", " indented"]), st.text(max_size=20))
values = st.one_of(
    st.none(),
    st.text(max_size=8),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
tags = st.lists(
    st.sampled_from(["vip", "VIP ", "app-user", "ǅ", "straße"]), max_size=3, unique_by=lambda t: t.strip().casefold()
)
policy_words = st.sampled_from(["enforce", "enforce", "fill", "create_only", "ignore"])
FIELDS = ("email", "first_name", "last_name", "phone", "locale", "note")

profiles = st.builds(
    lambda **given: given,
    email=addresses,
    email_verified=st.sampled_from([True, True, False, None]),
    first_name=names,
    last_name=names,
    phone=phones,
    note=notes,
    locale=st.sampled_from([None, "en_us", "EN-us", "de", "zh-hant-tw", " "]),
    image_url=st.sampled_from([None, "https://img.example.com/1.png", " "]),
    metadata=st.fixed_dictionaries({"json": values, "number": st.one_of(st.none(), st.integers(), st.just("1.50"))}),
)
policies = st.builds(
    lambda fields, **given: {"fields": fields, **given},
    fields=st.fixed_dictionaries(dict.fromkeys(FIELDS, policy_words)),
    tags=tags,
    country=st.sampled_from([None, "CA", "CH"]),
    require_email=st.booleans(),
    trust_email=st.sampled_from(["verified", "always", "never"]),
    on_email_conflict=st.sampled_from(["relink", "hold", "merge"]),
    on_leave=st.sampled_from(["keep", "tag", "delete", "erase"]),
    metafields=st.fixed_dictionaries(
        {},
        optional={
            "clerk.avatar": policy_words.map(lambda p: {"from": "image_url", "type": "url", "policy": p}),
            "clerk.json": policy_words.map(lambda p: {"from": "metadata.json", "type": "json", "policy": p}),
            "clerk.number": policy_words.map(
                lambda p: {"from": "metadata.number", "type": "number_decimal", "policy": p}
            ),
        },
    ),
)
strangers = st.lists(
    st.fixed_dictionaries(
        {"first_name": st.sampled_from(["Staff", " Ada", None]), "email": st.one_of(st.none(), pool)},
        optional={
            "tags": st.sampled_from([("VIP",), ("a", "b")]),
            "phone": st.just("+16134505293"),
            "note": st.just("by staff"),
            "can_delete": st.booleans(),
        },
    ),
    max_size=3,
    unique_by=(lambda c: normalise.email_key(str(c["email"] or "")) or id(c), lambda c: c.get("phone") or id(c)),
)
ways = st.sampled_from(ALL_WAYS)


def world(
    policy: MappingOf[str, Any], rows: MappingOf[ClerkUserId, MappingOf[str, Any]], there: list[Any], how: Ways
) -> ModelWorld:
    made = ModelWorld(store(**policy), how)
    for user, row in rows.items():
        made.profiles.rows[user] = profile(user, **row)
    for number, values_ in enumerate(there, 1):
        if any(values_.get(f) for f in ("email", "phone", "first_name")):
            made.shop.put(customer(number, **values_))
    return made


@given(policies, profiles, strangers, ways)
def test_a_write_is_followed_by_an_empty_plan(
    policy: dict[str, Any], row: dict[str, Any], there: list[Any], how: Ways
) -> None:
    one = world(policy, {USERS[0]: row}, there, how)
    note(str(one.cycle().plan))
    second = one.plan().plan
    assert not second.actions, second.actions


@given(policies, profiles, profiles, ways)
def test_a_changed_profile_is_written_once(
    policy: dict[str, Any], row: dict[str, Any], later: dict[str, Any], how: Ways
) -> None:
    one = world(policy, {USERS[0]: row}, [], how)
    one.cycle()
    one.profiles.rows[USERS[0]] = profile(USERS[0], **later)
    note(str(one.cycle().plan))
    writes = one.shop.writes
    assert not one.cycle().plan.actions
    assert one.shop.writes == writes


@given(policies, st.fixed_dictionaries({}, optional=dict.fromkeys(USERS, profiles)), strangers, ways)
def test_a_few_users_come_to_rest_within_three_cycles(
    policy: dict[str, Any], rows: dict[ClerkUserId, dict[str, Any]], there: list[Any], how: Ways
) -> None:
    one = world(policy, rows, there, how)
    for _ in range(3):
        note(str(one.cycle().plan))
    assert not one.plan().plan.actions
    linked = [c.backlink for c in one.shop.people.values() if c.backlink]
    assert len(linked) == len(set(linked))


@given(policies, st.fixed_dictionaries({}, optional=dict.fromkeys(USERS, profiles)), strangers, st.randoms())
def test_the_same_input_gives_the_same_digest_in_whatever_order_it_is_read(
    policy: dict[str, Any], rows: dict[ClerkUserId, dict[str, Any]], there: list[Any], random: Any
) -> None:
    one = world(policy, rows, there, Ways())
    first = build_plan([one.plan().plan], created_at=NOW)
    people = list(one.shop.people.items())
    random.shuffle(people)
    one.shop.people = dict(people)
    shuffled = list(one.profiles.rows.items())
    random.shuffle(shuffled)
    one.profiles.rows = dict(shuffled)
    one.profiles.backwards, one.profiles.page = True, 1
    assert build_plan([one.plan().plan], created_at=NOW).digest == first.digest


@given(policies, profiles, strangers, ways, st.booleans())
def test_what_others_wrote_is_still_there_when_somebody_comes_and_leaves(
    policy: dict[str, Any],
    row: dict[str, Any],
    there: list[Any],
    how: Ways,
    deleted: bool,  # noqa: FBT001  Hypothesis gives it
) -> None:
    assume(policy["on_leave"] in {"keep", "tag"})
    one = world(
        {**policy, "fields": dict.fromkeys(FIELDS, "fill"), "on_email_conflict": "hold"}, {USERS[0]: row}, there, how
    )
    before = dict(one.shop.people)
    one.cycle()
    one.profiles.rows = {USERS[1]: profile(USERS[1], email=None, first_name=None)}
    if deleted:
        one.profiles.rows[USERS[0]] = profile(USERS[0], deleted=True)
    one.cycle()
    for at, was in before.items():
        now = one.shop.people[at]
        assert normalise.tag_keys(was.tags) <= normalise.tag_keys(now.tags)
        for field in FIELDS:
            old = getattr(was, field)
            assert old is None or not old.strip() or getattr(now, field) == old


@pytest.mark.parametrize("field", ["first_name", "last_name", "note"])
@given(st.text(max_size=30))
def test_normalising_twice_changes_nothing(field: str, text: str) -> None:
    once = normalise.note(text) if field == "note" else normalise.name(text)
    assert (normalise.note(once) if field == "note" else normalise.name(once)) == once


@given(st.text(max_size=40), st.sampled_from([None, "US", "CH"]))
def test_a_phone_is_e164_or_an_error_and_stays_what_it_is(text: str, country: str | None) -> None:
    try:
        found = normalise.phone(text, country)
    except ValueError:
        return
    assert found is None or normalise.phone(found, None) == found == normalise.phone_key(found)


@given(st.lists(st.text(max_size=6), max_size=6))
def test_tags_come_back_the_same_from_shopify(words: list[str]) -> None:
    once = normalise.tags(words)
    assert normalise.tags(once) == once
    assert normalise.tag_keys(reversed(once)) == normalise.tag_keys(words)
