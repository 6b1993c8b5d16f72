"""What is reported of people and stores: explain, status, the certificate and the forecast."""

from __future__ import annotations

import pytest

from tests.cli.harness import EU, US
from tests.stories.harness import StoryHarness, mail


@pytest.fixture
def two(story: StoryHarness) -> StoryHarness:
    story.second_shop()
    story.store["fields"] = {"phone": "fill", "note": "create_only"}
    story.user("ada", last_name="King")
    story.user("bob")
    story.user("cyd", email=None)
    story.apply()
    return story


def test_explain_says_per_shop_what_is_wanted_what_is_there_and_what_comes_next(two: StoryHarness) -> None:
    two.staff("edit", id=two.theirs("ada").id, first_name="Adele")
    two.user("ada", last_name="Lovelace")
    found = two("explain", "user_ada", "--output", "json").json
    assert found["clerk_user_id"] == "user_ada"
    assert [s["store"] for s in found["stores"]] == [EU, US]
    us = found["stores"][1]
    assert set(us) >= {"store", "status", "reason", "wanted", "observed", "fields", "next", "events"}
    assert (us["status"], us["wanted"]["last_name"], us["observed"]["last_name"]) == ("pending", "Lovelace", "King")
    fields = {f["field"]: f for f in us["fields"]}
    assert {
        n: (fields[n]["equal"], fields[n]["why"], fields[n]["owner"]) for n in ("email", "first_name", "last_name")
    } == {
        "email": (True, None, "reconciler"),
        "first_name": (False, "drift", "reconciler"),
        "last_name": (False, "profile changed", "reconciler"),
    }
    assert (fields["phone"]["owner"], fields["note"]["owner"]) == ("first value", "shopify")
    assert us["next"]["does"] == "update: first_name, last_name"
    assert [e["kind"] for e in us["events"]] == ["create"]
    two.apply()
    us = two("explain", "user_ada", "--output", "json").json["stores"][1]
    assert (us["status"], us["next"]["does"]) == ("in_sync", "nothing: the user is in sync")
    assert [e["kind"] for e in us["events"]] == ["create", "update"]
    two.settles(held={("cyd", "NoEmail")})


def test_explain_says_why_somebody_waits_and_who_must_act(two: StoryHarness) -> None:
    (_, us) = two("explain", "user_cyd", "--output", "json").json["stores"]
    assert (us["status"], us["reason"], us["next"]["who_acts"], us["observed"]) == ("held", "NoEmail", "profile", None)
    assert two("explain", "user_cyd").code == 0
    assert two("explain", "user_absent").code == 1
    two.settles(held={("cyd", "NoEmail")})


def test_explain_tells_what_it_knows_of_a_shop_that_does_not_answer(two: StoryHarness) -> None:
    two.shop(EU).status = 402
    said = two("explain", "user_ada", "--output", "json")
    assert said.code == 1
    eu, us = said.json["stores"]
    assert "is frozen" in eu["error"]
    assert (eu["status"], us["error"], us["status"]) == ("unknown", None, "in_sync")
    two.shop(EU).status = None
    two.settles(held={("cyd", "NoEmail")})


def test_status_counts_what_the_state_knows_and_asks_no_shop(two: StoryHarness) -> None:
    calls = len(two.shop().calls)
    for store in two("status", "--output", "json").json["stores"]:
        assert (store["profiles"], store["mapped"], store["in_sync"], store["held"]) == (3, 2, 2, {"NoEmail": 1})
        assert store["parity"] == pytest.approx(2 / 3, abs=1e-6)
    assert len(two.shop().calls) == calls
    two.settles(held={("cyd", "NoEmail")})


def test_the_certificate_says_in_one_sentence_how_many_are_equal_and_seals_it(two: StoryHarness) -> None:
    one = two("status", "--certificate", "--output", "json").json
    assert one["sentence"].startswith("4 of 6 users are equal, and in 0 of 2 shops all are, at 20")
    assert one["exceptions"] == {"NoEmail": 2}
    assert one["digest"].startswith("blake2b:")
    two.user("cyd", email=mail("cyd"))
    two.apply()
    other = two("status", "--certificate", "--output", "json").json
    assert other["sentence"].startswith("6 of 6 users are equal, and in 2 of 2 shops all are, at 20")
    assert (other["exceptions"], other["digest"] == one["digest"]) == ({}, False)
    two.staff("edit", id=two.theirs("ada").id, first_name="Adele")
    assert two("status", "--certificate", "--output", "json").json["exceptions"] == {"update pending": 1}
    two.apply()
    two.settles()


def test_the_certificate_of_a_shop_that_can_t_be_read_says_so(two: StoryHarness) -> None:
    two.shop(EU).status = 423
    said = two("status", "--certificate", "--output", "json")
    assert said.code == 1
    assert said.json["exceptions"] == {"NoEmail": 1, "unreadable": 1}
    two.shop(EU).status = None
    two.settles(held={("cyd", "NoEmail")})


def test_the_forecast_is_what_the_writes_then_cost(story: StoryHarness) -> None:
    for name in ("ada", "bob"):
        story.user(name)
    story.apply()
    story.user("ada", last_name="King")
    story.store["tags"] = ["late"]
    story.user("cyd")
    forecast = story.plan()["forecast"]
    assert forecast["points"] == sum(a["cost_points"] for a in story.plan()["actions"])
    assert forecast["seconds"] >= 0
    before = story.mutations
    story.apply()
    assert forecast["points"] == 10 * (story.mutations - before)
    story.settles()
