"""What Shopify refuses is held, and tried again when there is a reason to: room made, a new value, a person who asks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stories.village import Village, mail

FULL = [f"foreign-{n:03}" for n in range(250)]


def writes(village: Village) -> int:
    return sum(
        village.calls()[root] for root in ("customerSet", "tagsAdd", "tagsRemove", "metafieldsSet", "customerDelete")
    )


@pytest.mark.parametrize("bulk", ["never", "always"])
def test_a_tag_that_replaces_another_fits_where_both_would_not(village: Village, bulk: str) -> None:
    village.user("ada")
    village.apply()
    village.staff("tag", id=village.theirs("ada").id, tags=FULL[:249])
    village.store["tags"] = ["vip"]
    village.apply("--bulk", bulk)
    assert set(village.theirs("ada").tags) == {*FULL[:249], "vip"}
    village.settles()


@pytest.mark.parametrize("bulk", ["never", "always"])
def test_a_tag_without_room_is_held_and_goes_when_room_is_made(village: Village, bulk: str) -> None:
    guest = village.staff("create", email=mail("ada"))
    village.staff("tag", id=guest.id, tags=FULL)
    village.user("ada")
    village.apply("--bulk", bulk, code=0)
    assert village.theirs("ada").id == guest.id
    assert village.mappings()["ada"]["status"] == "held"
    village.settles(held={("ada", "Rejected")})
    village.staff("untag", id=guest.id, tags=[FULL[7]])
    assert village.actions() == {"ada": "update"}
    village.apply("--bulk", bulk)
    assert "app-user" in village.theirs("ada").tags
    village.settles()


def test_of_a_replaced_tag_without_room_the_old_one_goes_and_the_new_one_waits(village: Village) -> None:
    village.user("ada")
    village.apply()
    at = village.theirs("ada").id
    village.staff("tag", id=at, tags=FULL[:249])
    village.store["tags"] = ["vip", "gold"]
    village.apply(code=1)
    assert set(village.theirs("ada").tags) == set(FULL[:249])
    village.settles(held={("ada", "Rejected")})
    village.staff("untag", id=at, tags=[FULL[0]])
    village.apply()
    assert {"vip", "gold"} <= set(village.theirs("ada").tags)
    village.settles()


def test_a_refused_release_is_held_and_sent_once(village: Village) -> None:
    village.store["on_leave"] = "tag"
    village.user("ada")
    village.user("bob")
    village.apply()
    at = village.theirs("ada").id
    village.staff("tag", id=at, tags=FULL[:249])
    village.gone("ada")
    before = writes(village)
    village.apply(code=1)
    assert writes(village) == before + 1
    assert village.mappings()["ada"] | {"status": "held", "reason": "Rejected"} == village.mappings()["ada"]
    village.settles(held={("ada", "Rejected")})
    village.staff("untag", id=at, tags=[FULL[0]])
    assert village.actions() == {"ada": "release"}
    village.apply()
    assert village.mappings()["ada"]["status"] == "released"
    assert "clerk-left" in village.theirs("ada").tags
    village.settles()


@pytest.mark.parametrize("change", ["profile", "policy"])
def test_a_refused_release_is_tried_again_when_profile_or_policy_change(village: Village, change: str) -> None:
    village.store["on_leave"] = "tag"
    village.user("ada")
    village.user("bob")
    village.apply()
    village.staff("tag", id=village.theirs("ada").id, tags=FULL[:249])
    village.gone("ada")
    village.apply(code=1)
    if change == "profile":
        village.user("ada", first_name="Adah")
        village.apply()
        assert village.theirs("ada").first_name == "Adah"
    else:
        village.store["on_leave"] = "keep"
        village.apply()
        assert village.mappings()["ada"]["status"] == "released"
    village.settles()


RULES: dict[str, Any] = {
    "app.before": {"from": "metadata.before", "type": "single_line_text_field"},
    "app.sizes": {"from": "metadata.sizes", "type": "list.number_integer"},
    "app.link": {"from": "metadata.link", "type": "url"},
    "app.after": {"from": "metadata.after", "type": "boolean"},
}


@pytest.mark.parametrize("bulk", ["never", "always"])
def test_bad_metafields_are_held_by_name_and_the_others_of_the_call_are_written(village: Village, bulk: str) -> None:
    village.store["metafields"] = RULES
    village.user("ada", metadata='{"before": "x", "sizes": [1, "x"], "link": "no link", "after": "true"}')
    village.apply("--bulk", bulk)
    assert village.theirs("ada").metafields == {"app.before": "x", "app.after": "true"}
    messages = " ".join(h["message"] for h in village.plan()["holds"])
    assert "metafields.app.sizes" in messages
    assert "metafields.app.link" in messages
    assert "metafields.app.before" not in messages
    village.settles(held={("ada", "Rejected")})
    village.user("ada", metadata='{"before": "x", "sizes": [1, 2], "link": "https://x.example.com", "after": "true"}')
    village.apply("--bulk", bulk)
    assert set(village.theirs("ada").metafields) == set(RULES)
    village.settles()
