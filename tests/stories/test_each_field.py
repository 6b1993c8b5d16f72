"""Each scalar field of the table goes all the way: created, changed, edited by staff, shown, restored and cleared."""

from __future__ import annotations

from typing import Final

import pytest

from reconciler.core.model.scalars import FIELDS, Form
from tests.cli.harness import US
from tests.stories.harness import StoryHarness

VALUES: Final[dict[Form, tuple[str, str, str]]] = {
    "name": ("Ada", "Grace", "Tpyo"),
    "note": ("one\ntwo", "three", "four"),
    "locale": ("de", "fr", "en-GB"),
    "email": ("one@village.example.com", "two@village.example.com", "three@village.example.com"),
    "phone": ("+16134505293", "+442079460958", "+4915112345678"),
}
"""By form: the first value, a second one, and what staff make of it; all of them as Shopify keeps them."""


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_of_the_table_is_kept_as_in_the_profile(story: StoryHarness, field: str) -> None:
    first, second, edited = VALUES[FIELDS[field].form]
    story.store["fields"] = {field: "enforce"}
    story.user("ada", **{field: first})
    story.apply()
    assert getattr(story.theirs("ada"), field) == first
    story.settles()

    story.user("ada", **{field: second})
    assert story.actions() == {"ada": "update"}
    story.apply()
    assert getattr(story.theirs("ada"), field) == second
    assert story("backfill", "shopify").code == 0  # the mirror shows the same as a point read
    story.settles()

    story.staff("edit", id=story.theirs("ada").id, **{field: edited})
    drift = story("drift")
    assert (drift.code, field in drift.out, edited.partition("@")[0] in drift.out) == (3, True, True)
    explained = story("explain", "user_ada", "--output", "json").json["stores"][0]
    assert (explained["store"], explained["wanted"][field], explained["observed"][field]) == (US, second, edited)
    assert story.plan()["actions"][0]["changes"] == [
        {"field": field, "before": edited, "after": second, "why": "drift"}
    ]
    story.apply()
    assert getattr(story.theirs("ada"), field) == second
    story.settles()


@pytest.mark.parametrize("field", [name for name, field in FIELDS.items() if field.form in {"name", "note"}])
def test_a_field_that_is_too_long_is_held_and_an_empty_one_is_cleared(story: StoryHarness, field: str) -> None:
    story.store["fields"] = {field: "enforce"}
    story.user("ada", **{field: "x" * FIELDS[field].length_max})
    story.apply()
    story.user("ada", **{field: "x" * (FIELDS[field].length_max + 1)})
    assert story.held() == {("ada", "Rejected")}
    story.user("ada", **{field: None})
    story.apply()
    assert getattr(story.theirs("ada"), field) is None
    story.settles()
