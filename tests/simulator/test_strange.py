"""The strange mode: other spellings of the same values, the same each time, and only in what is shown."""

from __future__ import annotations

import pytest

from reconciler.simulator.strange import spelling_of
from tests.simulator.harness import METAFIELDS, SimulatorHarness

SEEDS = range(12)
VALUES = {
    "email": "ada@example.com",
    "phone": "+16134505293",
    "name": "Anne-Marie O'Brien",
    "note": "two\nlines",
    "locale": "en-US",
    "tag": "app user",
    "single_line_text_field": "Zoë & Co",
    "boolean": "true",
    "number_integer": "-5",
    "number_decimal": "1.25",
    "date": "2026-01-31",
    "date_time": "2026-01-31T10:11:12+00:00",
    "color": "#aabbcc",
    "url": "https://img.example.com/1.png",
    "json": '{"b": 1, "a": [1.5, "x"]}',
    "rating": '{"value":"3.5","scale_min":"1.0","scale_max":"5.0"}',
    "dimension": '{"value":25.0,"unit":"CENTIMETERS"}',
    "list.number_decimal": '["1.5","2"]',
    "list.single_line_text_field": '["a b","c"]',
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_of_every_type_has_several_spellings_and_one_seed_always_chooses_the_same(kind: str) -> None:
    value = VALUES[kind]
    shown = [spelling_of(seed, kind, value) for seed in SEEDS]
    assert shown == [spelling_of(seed, kind, value) for seed in SEEDS]
    assert len(set(shown) - {value}) > 1
    assert all(shown)


def test_without_a_seed_and_without_a_value_nothing_changes() -> None:
    assert spelling_of(None, "tag", "vip") == "vip"
    assert (spelling_of(1, "name", None), spelling_of(1, "note", "")) == (None, "")
    assert spelling_of(1, "id", "user_1") == "user_1"


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_makes_no_sense_is_shown_all_the_same(kind: str) -> None:
    for value in ("", "x", "{", "[1,", "NaN", "Infinity", "null", "\ud800"):
        assert isinstance(spelling_of(3, kind, value), str), value


@pytest.mark.parametrize("seed", SEEDS)
def test_a_strange_shop_keeps_what_it_got_and_removes_a_tag_by_its_shown_name(sim: SimulatorHarness, seed: int) -> None:
    made = sim.set(email="ada@example.com", firstName="O'Brien", phone="+16134505293", tags=["app user", "vip"])
    sim.shop.change_habits(strange=seed)
    shown = sim.find(emailAddress="ADA@example.com")
    assert shown["id"] == made["id"] == sim.find(phoneNumber="+1 613 450 5293")["id"]
    assert (shown["email"], shown["firstName"]) == (
        spelling_of(seed, "email", "ada@example.com"), spelling_of(seed, "name", "O'Brien"),
    )  # fmt: skip
    given = {"ownerId": made["id"], "namespace": "app", "key": "size", "value": "5", "type": "number_integer"}
    assert sim(METAFIELDS, m=[given])["metafields"][0]["value"] == spelling_of(seed, "number_integer", "5")
    sim.shop.tags_remove(id=made["id"], tags=[shown["tags"][0]])
    sim.shop.change_habits(strange=None)
    assert sim.find(emailAddress="ada@example.com")["tags"] == ["vip"]
