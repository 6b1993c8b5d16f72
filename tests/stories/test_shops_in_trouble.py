"""One shop can't be used: it is reported in its place, the other is planned and applied, and the exit code says so."""

from __future__ import annotations

import time

import pytest

from reconciler.cli.context import OUTAGE_S
from reconciler.simulator.faults import FaultKind
from reconciler.simulator.world import ALL_SCOPES
from tests.cli.harness import EU, US
from tests.stories.harness import StoryHarness, mail, open_shop


@pytest.fixture
def two(story: StoryHarness) -> StoryHarness:
    story.second_shop()
    story.user("ada")
    story.user("bob")
    return story


def assert_only_the_other_is_served(story: StoryHarness, said: str) -> None:
    plan = story("plan", "--output", "json")
    assert plan.code == 1
    eu, us = plan.json["stores"]
    assert said in us["error"]
    assert us["actions"] == []
    assert (eu["error"], eu["summary"]["create"]) == (None, 2)
    assert story("drift", "--output", "json").code == 1
    results = story.apply(code=1)["stores"]
    assert [(r["store"], r["applied"], bool(r["error"])) for r in results] == [
        (EU, {"create": 2}, False),
        (US, {}, True),
    ]
    assert {c.email for c in story.everybody(EU).values()} == {mail("ada"), mail("bob")}
    assert story.everybody(US) == {}


def and_then_it_heals(story: StoryHarness) -> None:
    story.apply()
    assert {c.email for c in story.everybody(US).values()} == {mail("ada"), mail("bob")}
    story.settles()


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "refuses the access token"), (402, "is frozen"), (403, "forbids"), (423, "is locked"), (503, "HTTP 503")],
)
def test_a_shop_that_answers_with_a_status_is_reported_and_the_other_is_served(
    two: StoryHarness, status: int, said: str
) -> None:
    two.shop(US).status = status
    assert_only_the_other_is_served(two, said)
    two.shop(US).status = None
    and_then_it_heals(two)


def test_a_shop_that_asks_to_come_back_in_a_moment_is_waited_for(two: StoryHarness) -> None:
    two.shop(US).faults.add("status", status=429, times=2, retry_after_s=0.05)
    assert two("plan").code == 0
    assert two.shop(US).faults.pending() == 0
    and_then_it_heals(two)


@pytest.mark.parametrize(
    "words",
    [
        ("plan",), ("plan", "--output", "json"), ("drift",), ("apply", "--yes"), ("explain", "user_ada"),
        ("status", "--certificate"), ("bootstrap",),
    ],
)  # fmt: skip
def test_a_shop_that_fails_is_reported_on_stderr_too_with_what_to_do_next(
    two: StoryHarness, words: tuple[str, ...]
) -> None:
    two.shop(US).status = 401
    said = two(*words)
    assert said.code == 1
    *_, what, hint = said.err.splitlines()
    assert what.startswith(f"error: {US}: ")
    assert "refuses the access token" in what
    assert hint.startswith("hint: ")
    assert said.err.count("error: ") == 1
    assert "refuses the access token" in " ".join(said.out.split())


def test_a_shop_that_is_only_busy_is_reported_with_what_to_do_next(two: StoryHarness) -> None:
    two.shop(US).status = 503
    said = two("plan")
    assert said.code == 1
    assert said.err.splitlines()[-1] == f"hint: reconciler doctor --store {US}"


def test_actions_that_were_not_executed_are_reported_on_stderr_by_the_first_of_them(two: StoryHarness) -> None:
    two.shop(US).faults.add("status", status=402, on="customerSet", times=None)
    said = two("apply", "--yes")
    assert said.code == 1
    *_, what, hint = said.err.splitlines()
    assert what.startswith(f"error: {US}: 2 actions not applied, the first for user_")
    assert "is frozen" in what
    assert hint.startswith("hint: ")


@pytest.mark.parametrize(("kind", "said"), [("html", "text/html"), ("truncated", "no whole JSON")])
def test_a_shop_that_answers_no_json_is_reported_and_the_other_is_served(
    two: StoryHarness, kind: str, said: str
) -> None:
    two.shop(US).faults.add(kind, times=None)  # type: ignore[arg-type]
    assert_only_the_other_is_served(two, said)
    two.shop(US).faults.clear()
    and_then_it_heals(two)


def test_a_shop_with_access_that_ends_in_the_middle_stops_and_the_rest_is_reported_by_name(two: StoryHarness) -> None:
    fault = two.shop(US).faults.add("status", status=402, on="customerSet", after=1, times=None)
    eu, us = two.apply(code=1)["stores"]
    assert (eu["applied"], eu["failed"]) == ({"create": 2}, [])
    assert us["applied"] == {"create": 1}
    assert [f["clerk_user_id"] for f in us["failed"]] == ["user_bob"] or us["failed"][0]["clerk_user_id"] == "user_ada"
    assert "is frozen" in us["failed"][0]["message"]
    assert fault.hits == 1
    two.shop(US).faults.clear()
    and_then_it_heals(two)


def test_a_scope_that_is_missing_for_writes_stops_the_store_and_says_which(two: StoryHarness) -> None:
    two.shop(US).shop.scopes = {"read_customers"}
    assert two("plan").code == 0
    us = two.apply(code=1)["stores"][1]
    assert us["applied"] == {}
    assert {f["clerk_user_id"] for f in us["failed"]} == {"user_ada", "user_bob"}
    assert "write_customers" in us["failed"][0]["message"] + us["failed"][0]["hint"]
    two.shop(US).shop.scopes = set(ALL_SCOPES)
    and_then_it_heals(two)


def test_a_scope_that_is_missing_for_reads_is_reported_in_its_place(two: StoryHarness) -> None:
    two.shop(US).shop.scopes = set()
    assert_only_the_other_is_served(two, "StoreSuspended")
    two.shop(US).shop.scopes = set(ALL_SCOPES)
    and_then_it_heals(two)


def test_customer_data_that_the_app_is_not_approved_for_is_unknown_and_never_blank(two: StoryHarness) -> None:
    two.apply()
    before = two.everybody(US)
    two.staff("unapprove", fields=["firstName", "defaultEmailAddress"])
    two.user("ada", first_name="Adah")
    assert two.actions("--store", US) == {}
    two.apply("--store", US)
    two.apply("--store", US)
    assert two.everybody(US) == before
    two.staff("unapprove", fields=[])
    two.apply()
    assert two.theirs("ada").first_name == "Adah"
    two.settles()


def test_no_one_is_certified_as_equal_by_what_was_not_shown(two: StoryHarness) -> None:
    two.apply()
    two.staff("unapprove", fields=["firstName", "defaultEmailAddress"])
    held = two("plan", "--output", "json", "--store", US).json["stores"][0]["holds"]
    assert {h["clerk_user_id"]: h["reason"] for h in held} == {"user_ada": "Unreadable", "user_bob": "Unreadable"}
    assert "first_name" in held[0]["message"]
    assert "protected customer data" in held[0]["message"]
    certified = two("status", "--certificate", "--store", US, "--output", "json").json
    assert (certified["users"], certified["equal"], certified["exceptions"]) == (2, 0, {"Unreadable": 2})
    assert two("drift", "--store", US).code == 1  # no field that is not shown is said to have no drift
    two.settles(held={("ada", "Unreadable"), ("bob", "Unreadable")})
    rows = {row["store"]: row for row in two("status", "--output", "json").json["stores"]}
    assert (rows[US]["parity"], rows[US]["held"], rows[EU]["parity"]) == (0, {"Unreadable": 2}, 1)
    ada = two("explain", "user_ada", "--store", US, "--output", "json").json["stores"][0]
    fields = {f["field"]: f for f in ada["fields"]}
    assert (fields["email"]["shown"], fields["email"]["equal"], fields["last_name"]["shown"]) == (False, False, True)
    two.staff("unapprove", fields=[])
    two.settles()


def test_a_missing_definition_says_bootstrap_and_bootstrap_helps(two: StoryHarness) -> None:
    two.world.shops.pop(two.shop(US).domain)
    open_shop(two.world, US, ready=False)
    plan = two("plan", "--output", "json")
    assert plan.code == 1
    us = plan.json["stores"][1]
    assert "no metafield definition" in us["error"]
    assert "reconciler bootstrap" in us["error_hint"]
    assert "reconciler bootstrap" in two("plan").out
    assert two.apply(code=1)["stores"][0]["applied"] == {"create": 2}
    assert two("bootstrap", "--yes").code == 0
    and_then_it_heals(two)


@pytest.mark.parametrize("fault", ["lost_before", "internal_error", "html"])
@pytest.mark.parametrize(
    "words", [("plan",), ("drift",), ("explain", "user_ada"), ("status", "--certificate"), ("apply", "--yes")]
)
def test_a_read_that_fails_once_ends_no_command(two: StoryHarness, words: tuple[str, ...], fault: FaultKind) -> None:
    two.apply()
    two.user("ada", last_name="King")
    two.shop(US).faults.add(fault, on="nodes")
    said = two(*words)
    assert said.code == (2 if words == ("drift",) else 0), said.out + said.err
    assert two.shop(US).faults.pending() == 0
    and_then_it_heals(two)


def test_a_shop_that_is_away_for_some_seconds_in_the_middle_of_an_apply_is_waited_for(two: StoryHarness) -> None:
    two.outage_s = OUTAGE_S
    for n in range(12):
        two.user(f"user{n}")
    began = time.monotonic()
    for root in ("customerSet", "nodes", "customerByIdentifier"):
        two.shop(US).faults.add(
            "status", status=503, on=root, after=3, times=None, when=lambda _: time.monotonic() < began + 3
        )
    two.apply()
    assert len(two.everybody()) == 14
    two.shop(US).faults.clear()
    two.settles()
