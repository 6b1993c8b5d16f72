"""What Shopify refuses is held, and tried again when there is a reason to: space made, a new value, a person who asks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.stories.harness import StoryHarness, mail

FULL = [f"foreign-{n:03}" for n in range(250)]


def writes(story: StoryHarness) -> int:
    return sum(
        story.calls()[root] for root in ("customerSet", "tagsAdd", "tagsRemove", "metafieldsSet", "customerDelete")
    )


@pytest.mark.parametrize("bulk", ["never", "always"])
def test_a_tag_that_replaces_another_fits_where_both_would_not(story: StoryHarness, bulk: str) -> None:
    story.user("ada")
    story.apply()
    story.staff("tag", id=story.theirs("ada").id, tags=FULL[:249])
    story.store["tags"] = ["vip"]
    story.apply("--bulk", bulk)
    assert set(story.theirs("ada").tags) == {*FULL[:249], "vip"}
    story.settles()


@pytest.mark.parametrize("bulk", ["never", "always"])
def test_a_tag_without_space_is_held_and_goes_when_space_is_made(story: StoryHarness, bulk: str) -> None:
    guest = story.staff("create", email=mail("ada"))
    story.staff("tag", id=guest.id, tags=FULL)
    story.user("ada")
    story.apply("--bulk", bulk, code=0)
    assert story.theirs("ada").id == guest.id
    assert story.mappings()["ada"]["status"] == "held"
    story.settles(held={("ada", "Rejected")})
    story.staff("untag", id=guest.id, tags=[FULL[7]])
    assert story.actions() == {"ada": "update"}
    story.apply("--bulk", bulk)
    assert "app-user" in story.theirs("ada").tags
    story.settles()


def test_of_a_replaced_tag_without_space_the_old_one_goes_and_the_new_one_waits(story: StoryHarness) -> None:
    story.user("ada")
    story.apply()
    at = story.theirs("ada").id
    story.staff("tag", id=at, tags=FULL[:249])
    story.store["tags"] = ["vip", "gold"]
    story.apply(code=1)
    assert set(story.theirs("ada").tags) == set(FULL[:249])
    story.settles(held={("ada", "Rejected")})
    story.staff("untag", id=at, tags=[FULL[0]])
    story.apply()
    assert {"vip", "gold"} <= set(story.theirs("ada").tags)
    story.settles()


def test_a_refused_release_is_held_and_sent_once(story: StoryHarness) -> None:
    story.store["on_leave"] = "tag"
    story.user("ada")
    story.user("bob")
    story.apply()
    at = story.theirs("ada").id
    story.staff("tag", id=at, tags=FULL[:249])
    story.gone("ada")
    before = writes(story)
    story.apply(code=1)
    assert writes(story) == before + 1
    assert story.mappings()["ada"] | {"status": "held", "reason": "Rejected"} == story.mappings()["ada"]
    story.settles(held={("ada", "Rejected")})
    story.staff("untag", id=at, tags=[FULL[0]])
    assert story.actions() == {"ada": "release"}
    story.apply()
    assert story.mappings()["ada"]["status"] == "released"
    assert "clerk-left" in story.theirs("ada").tags
    story.settles()


@pytest.mark.parametrize("change", ["profile", "policy"])
def test_a_refused_release_is_tried_again_when_profile_or_policy_change(story: StoryHarness, change: str) -> None:
    story.store["on_leave"] = "tag"
    story.user("ada")
    story.user("bob")
    story.apply()
    story.staff("tag", id=story.theirs("ada").id, tags=FULL[:249])
    story.gone("ada")
    story.apply(code=1)
    if change == "profile":
        story.user("ada", first_name="Adah")
        story.apply()
        assert story.theirs("ada").first_name == "Adah"
    else:
        story.store["on_leave"] = "keep"
        story.apply()
        assert story.mappings()["ada"]["status"] == "released"
    story.settles()


RULES: dict[str, Any] = {
    "app.before": {"from": "metadata.before", "type": "single_line_text_field"},
    "app.sizes": {"from": "metadata.sizes", "type": "list.number_integer"},
    "app.link": {"from": "metadata.link", "type": "url"},
    "app.after": {"from": "metadata.after", "type": "boolean"},
}


@pytest.mark.parametrize("bulk", ["never", "always"])
def test_bad_metafields_are_held_by_name_and_the_others_of_the_call_are_written(story: StoryHarness, bulk: str) -> None:
    story.store["metafields"] = RULES
    story.user("ada", metadata='{"before": "x", "sizes": [1, "x"], "link": "no link", "after": "true"}')
    story.apply("--bulk", bulk)
    assert story.theirs("ada").metafields == {"app.before": "x", "app.after": "true"}
    messages = " ".join(h["message"] for h in story.plan()["holds"])
    assert "metafields.app.sizes" in messages
    assert "metafields.app.link" in messages
    assert "metafields.app.before" not in messages
    story.settles(held={("ada", "Rejected")})
    story.user("ada", metadata='{"before": "x", "sizes": [1, 2], "link": "https://x.example.com", "after": "true"}')
    story.apply("--bulk", bulk)
    assert set(story.theirs("ada").metafields) == set(RULES)
    story.settles()


def test_a_metafield_that_was_refused_is_written_when_only_its_type_is_corrected(story: StoryHarness) -> None:
    story.store["metafields"] = {"app.tier": {"from": "locale", "type": "number_integer"}}
    story.user("ada", locale="en")
    story.apply()
    story.settles(held={("ada", "Rejected")})
    story.store["metafields"]["app.tier"]["type"] = "single_line_text_field"
    story.apply()
    assert story.theirs("ada").metafields == {"app.tier": "en"}
    story.settles()


@pytest.mark.slow
def test_what_the_definitions_of_metafields_refuse_is_held_and_the_rest_is_written(story: StoryHarness) -> None:
    limits = {
        "tier": ("single_line_text_field", "choices", '["gold", "silver"]'),
        "code": ("single_line_text_field", "max", "5"),
        "points": ("number_integer", "max", "100"),
        "sizes": ("list.single_line_text_field", "list.max", "2"),
        "plain": ("single_line_text_field", "min", "1"),
    }
    for key, (type_, name, value) in limits.items():
        definition = {"ownerType": "CUSTOMER", "namespace": "app", "key": key, "type": type_, "name": key}
        validations = [{"name": name, "value": value}]
        made = story.shop().shop.metafield_definition_create({**definition, "validations": validations})
        assert made["userErrors"] == []
    story.store["metafields"] = {
        f"app.{key}": {"from": f"metadata.{key}", "type": each[0]} for key, each in limits.items()
    }
    bad = {"tier": "lead", "code": "toolong", "points": "101", "sizes": '["s", "m", "l"]', "plain": "x"}
    good = {"tier": "gold", "code": "short", "points": "100", "sizes": '["s", "m"]', "plain": "x"}
    story.user("ada", metadata=json.dumps(bad))
    story.user("bob", metadata=json.dumps(good))
    checks = story("doctor", "--output", "json").json["checks"]
    warned = [check["message"] for check in checks if (check["what"], check["level"]) == ("metafields", "warning")]
    assert [message.partition(" a value of ")[2].split(",")[0] for message in warned] == [
        f"app.{key} that its definition in Shopify refuses ({limits[key][1]})"
        for key in ("code", "points", "sizes", "tier")
    ]
    story.apply()
    assert set(story.theirs("ada").metafields) == {"app.plain"}
    assert set(story.theirs("bob").metafields) == {f"app.{key}" for key in limits}
    holds = story.plan()["holds"]
    assert {h["clerk_user_id"] for h in holds} == {"user_ada"}
    assert [h["message"].partition(":")[0] for h in holds] == [
        f"Shopify refused metafields.app.{key}" for key in ("code", "points", "sizes", "tier")
    ]
    story.settles(held={("ada", "Rejected")})
    story.user("ada", metadata=json.dumps(good))
    assert story.actions() == {"ada": "update"}
    story.apply()
    assert story.theirs("ada").metafields == story.theirs("bob").metafields
    story.settles()


def test_what_was_refused_for_a_cause_in_the_shop_goes_by_an_apply_to_these_users(story: StoryHarness) -> None:
    story.user("ada")
    story.user("bob")
    limit = story.shop().faults.add("user_error", on="customerSet", times=None)
    story.apply(code=1)
    named = ("--user", "user_ada", "--user", "user_bob")
    story.apply(*named, code=1)
    assert limit.hits == 4
    story.settles(held={("ada", "Rejected"), ("bob", "Rejected")})
    story.shop().faults.clear()
    story.apply(*named)
    assert len(story.everybody()) == 2
    story.settles()


def test_a_user_id_that_the_definition_of_the_back_link_refuses_is_held(story: StoryHarness) -> None:
    shop = story.shop().shop
    limit = {"validations": [{"name": "regex", "value": "^[0-9]+$"}]}
    change = {"ownerType": "CUSTOMER", "namespace": "clerk", "key": "user_id", **limit}
    assert shop.metafield_definition_update(change)["userErrors"] == []
    story.user("ada")
    story.apply(code=1)
    assert "not the correct format" in story.plan()["holds"][0]["message"]
    story.settles(held={("ada", "Rejected")})
    assert story.everybody() == {}
