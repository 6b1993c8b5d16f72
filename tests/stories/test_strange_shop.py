"""A shop that shows every value in a spelling of its own: one write each, no drift, and edits are seen all the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.matrices import seeds
from tests.stories.harness import AVATAR, StoryHarness, mail

WRITES = ("customerSet", "metafieldsSet", "tagsAdd", "tagsRemove")
TYPES = {
    "color": "#AABBCC",
    "date": "2026-01-31",
    "date_time": "2026-01-31T12:30:00+01:00",
    "boolean": "true",
    "number_integer": "-7",
    "number_decimal": "12.5",
    "json": '{"b": [1, "x"], "a": 1.5}',
    "single_line_text_field": "Zoë's & Co",
    "multi_line_text_field": "one\ntwo",
    "list.single_line_text_field": '["a b", "c"]',
    "list.number_integer": "[1, 2]",
}
ENFORCED = dict.fromkeys(("email", "first_name", "last_name", "phone", "locale", "note"), "enforce")


@pytest.fixture(params=seeds(3, quick=1))
def strange(story: StoryHarness, request: pytest.FixtureRequest) -> StoryHarness:
    """Ada and Bob have a value of every type; the shop re-spells them all."""
    story.shop().shop.change_habits(strange=request.param)
    story.store.update(fields=ENFORCED, tags=["app user", "early-bird"])
    story.store["metafields"] = {
        f"app.{type_.replace('.', '_')}": {"from": f"metadata.{type_.replace('.', '_')}", "type": type_}
        for type_ in TYPES
    } | {AVATAR: {"from": "image_url", "type": "url"}}
    for name, phone in (("ada", "+16134505293"), ("bob", "+442079460958")):
        story.user(name, **person(name, phone))
    return story


def person(name: str, phone: str) -> dict[str, Any]:
    values = {type_.replace(".", "_"): value for type_, value in TYPES.items()}
    return {
        "first_name": f"{name.title()} O'Hara", "last_name": "Müller & Co", "phone": phone, "locale": "en-US",
        "note": "first\nsecond", "image_url": f"https://img.example.com/{name}.png", "metadata": json.dumps(values),
    }  # fmt: skip


def check_in_sync(story: StoryHarness) -> None:
    """Nothing is planned, nothing is drift, nothing is sent."""
    story.settles()
    assert story("drift").code == 0
    fields = story("explain", "user_ada", "--output", "json").json["stores"][0]["fields"]
    assert [f["field"] for f in fields if not f["equal"]] == []


@pytest.mark.parametrize("bulk", ["never", "always"])
def test_an_unforeseen_spelling_is_written_once(strange: StoryHarness, bulk: str) -> None:
    strange.apply("--bulk", bulk)
    assert all(strange.calls()[root] <= 2 for root in WRITES)
    assert strange.theirs("ada").first_name == "Ada O'Hara"
    check_in_sync(strange)
    mapped = strange.mappings()
    assert {row["status"] for row in mapped.values()} == {"in_sync"}


def test_by_the_mirror_nothing_is_to_be_done_either(strange: StoryHarness) -> None:
    strange.apply()
    said = strange("backfill", "shopify")
    assert said.code == 0, said.err
    check_in_sync(strange)


@pytest.mark.parametrize("kind", ["lost_before", "lost_after"])
def test_a_lost_answer_costs_one_write_more_at_most(strange: StoryHarness, kind: Any) -> None:
    for root in WRITES[:3]:
        strange.shop().faults.add(kind, on=root)
    strange.apply()
    assert all(strange.calls()[root] <= 3 for root in WRITES)
    check_in_sync(strange)


def test_after_a_lost_state_each_kind_of_write_is_sent_once_more_at_most(strange: StoryHarness) -> None:
    strange.apply()
    before = strange.calls()
    strange.lose_the_state()
    strange.apply()
    assert all(strange.calls()[root] - before[root] <= 2 for root in WRITES)
    check_in_sync(strange)


EDITS: list[tuple[str, dict[str, Any], str]] = [
    ("edit", {"first_name": "Adelaide"}, "first_name"),
    ("edit", {"note": "by staff"}, "note"),
    ("edit", {"phone": "+16134505294"}, "phone"),
    ("edit", {"email": "other@village.example.com"}, "email"),
    ("edit", {"locale": "fr"}, "locale"),
    (
        "set_metafield",
        {"namespace": "app", "key": "date_time", "value": "2026-02-01T12:30:00Z"},
        "metafields.app.date_time",
    ),
    ("set_metafield", {"namespace": "app", "key": "color", "value": "#000000"}, "metafields.app.color"),
    ("delete_metafield", {"namespace": "app", "key": "json"}, "metafields.app.json"),
    ("untag", {"tags": ["app user"]}, "tags"),
]


@pytest.mark.parametrize(("action", "details", "field"), EDITS)
def test_what_staff_edit_is_drift_and_is_healed_with_one_write(
    strange: StoryHarness, action: str, details: dict[str, Any], field: str
) -> None:
    strange.apply()
    before = strange.theirs("ada")
    strange.staff(action, id=before.id, **details)
    (found,) = strange.plan()["actions"]
    assert [(c["field"], c["why"]) for c in found["changes"]] == [(field, "drift")]
    assert strange("drift").code == 3
    strange.apply()
    assert strange.theirs("ada") == before
    check_in_sync(strange)


def test_a_changed_config_is_a_changed_config(strange: StoryHarness) -> None:
    strange.apply()
    strange.store["tags"] = ["app user", "vip"]
    strange.store["metafields"]["app.color"]["from"] = "metadata.color2"
    values = {type_.replace(".", "_"): value for type_, value in TYPES.items()} | {"color2": "#010203"}
    strange.user("ada", metadata=json.dumps(values))
    changes = next(a for a in strange.plan()["actions"] if a["clerk_user_id"] == "user_ada")["changes"]
    assert {(c["field"], c["why"]) for c in changes} == {
        ("tags", "config changed"),
        ("metafields.app.color", "config changed"),
    }
    strange.apply()
    assert strange.theirs("ada").tags == strange.theirs("bob").tags == ("app user", "vip")
    check_in_sync(strange)


def test_a_value_that_goes_is_cleared_and_what_staff_put_in_its_place_is_left(strange: StoryHarness) -> None:
    strange.apply()
    strange.staff("edit", id=strange.theirs("bob").id, last_name="Staff")
    for name in ("ada", "bob"):
        strange.user(name, last_name=None, note=None, metadata="{}")
    strange.apply()
    assert (strange.theirs("ada").last_name, strange.theirs("ada").note) == (None, None)
    assert strange.theirs("bob").last_name == "Staff"
    assert set(strange.theirs("ada").metafields) == {AVATAR}
    check_in_sync(strange)


def test_what_was_written_is_taken_back(strange: StoryHarness) -> None:
    strange.apply()
    assert strange("undo", "--since", "1h", "--yes").code == 0
    assert strange.everybody() == {}


@pytest.mark.parametrize("bulk", ["never", "always"])
def test_a_metafield_in_the_apps_own_namespace_is_written_once(strange: StoryHarness, bulk: str) -> None:
    strange.store["metafields"]["$app:loyalty.joined"] = {"from": "metadata.date_time", "type": "date_time"}
    strange.store["metafields"]["$app.colour"] = {"from": "metadata.color", "type": "color"}
    strange.apply("--bulk", bulk)
    check_in_sync(strange)


def test_what_the_answer_may_not_show_is_no_value_and_the_write_is_done(strange: StoryHarness) -> None:
    strange.shop().shop.unapproved_fields = {"email", "phone"}
    strange.apply()
    assert strange.theirs("ada").email == "ada@village.example.com"
    strange.apply()
    strange.shop().shop.unapproved_fields = set()
    strange.apply()
    check_in_sync(strange)


@pytest.mark.parametrize("guests", [1, 20])
@pytest.mark.parametrize("seed", seeds(6, quick=1))
def test_a_guest_with_an_address_shown_in_another_spelling_is_adopted(
    story: StoryHarness, seed: int, guests: int
) -> None:
    story.shop().shop.change_habits(strange=seed)
    names = [f"guest{number}" for number in range(guests)]
    for name in names:
        story.staff("guest_checkout", email=mail(name))
        story.user(name)
    assert set(story.actions().values()) == {"adopt"}
    story.apply()
    story.settles()
    assert len(story.everybody()) == guests
    assert {row["status"] for row in story.mappings().values()} == {"in_sync"}


@pytest.mark.parametrize("seed", seeds(4, quick=1))
def test_by_the_mirror_such_a_guest_is_adopted_too(story: StoryHarness, seed: int) -> None:
    story.shop().shop.change_habits(strange=seed)
    story.staff("guest_checkout", email=mail("ada"))
    assert story("backfill", "shopify").code == 0
    story.user("ada")
    story.apply()
    story.settles()
    assert story.theirs("ada").orders == 1


EXCHANGES: dict[str, dict[str, dict[str, str]]] = {
    "emails": {"ada": {"email": mail("bob")}, "bob": {"email": mail("ada")}},
    "phones": {"ada": {"phone": "+442079460958"}, "bob": {"phone": "+16134505293"}},
    "both": {
        "ada": {"email": mail("bob"), "phone": "+442079460958"},
        "bob": {"email": mail("ada"), "phone": "+16134505293"},
    },
    "across": {"ada": {"email": mail("bob")}, "bob": {"email": mail("new"), "phone": "+16134505293"}},
    "three": {"ada": {"email": mail("bob")}, "bob": {"email": mail("cyd")}, "cyd": {"email": mail("ada")}},
    "chain": {"ada": {"email": mail("bob")}, "bob": {"email": mail("cyd")}, "cyd": {"email": mail("new")}},
}


@pytest.mark.parametrize("state", ["kept", "lost"])
@pytest.mark.parametrize("seed", [1, 3])
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_addresses_and_phones_that_the_shop_respells_change_owners(
    story: StoryHarness, exchange: str, seed: int, state: str
) -> None:
    story.shop().shop.change_habits(strange=seed)
    story.store.update(fields=ENFORCED)
    for name, phone in (("ada", "+16134505293"), ("bob", "+442079460958"), ("cyd", "+33142685300")):
        story.user(name, phone=phone)
    story.apply()
    story.settles()
    ids = {name: story.theirs(name).id for name in ("ada", "bob", "cyd")}
    if exchange == "across":
        story.user("ada", phone=None)
        story.apply()
    for name, columns in EXCHANGES[exchange].items():
        story.user(name, **columns)
    if state == "lost":
        story.lose_the_state()
    for _ in range(
        3 if state == "lost" else 0
    ):  # without the state no spelling is known, so more than one run is needed
        story("apply", "--yes")
    story.apply()
    for name, columns in EXCHANGES[exchange].items():
        now = story.theirs(name)
        assert now.id == ids[name]
        assert {field: getattr(now, field) for field in columns} == columns
    story.settles()
