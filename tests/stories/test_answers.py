"""`explain` answers in one sentence why a user is as they are in a shop, and what to do next."""

from __future__ import annotations

from datetime import datetime

import pytest

from reconciler.core.report.status import Replica
from reconciler.state.database.engine import open_engine
from tests.cli.harness import EU, US
from tests.state_store import StateStore
from tests.stories.harness import StoryHarness, mail


def answers(story: StoryHarness, name: str, *, code: int = 0) -> dict[str, str]:
    """The answer of each store."""
    said = story("explain", f"user_{name}", "--output", "json")
    assert said.code == code, said.err
    return {store["store"]: store["answer"] for store in said.json["stores"]}


def answer(story: StoryHarness, name: str, *, code: int = 0) -> str:
    return answers(story, name, code=code)[US]


@pytest.fixture
def ada(story: StoryHarness) -> StoryHarness:
    """Ada King is in sync."""
    story.user("ada", last_name="King")
    story.apply()
    return story


def number(story: StoryHarness, name: str = "ada") -> str:
    return story.theirs(name).id.rpartition("/")[2]


def test_the_answer_of_a_user_in_sync_names_the_customer_and_the_last_write(ada: StoryHarness) -> None:
    said = answer(ada, "ada")
    assert said.startswith(f"Ada King is in sync in {US} (customer {number(ada)}, last written ")
    assert said.endswith(("ago).", "just now)."))
    text = ada("explain", "user_ada").out.splitlines()
    assert text[0] == "user_ada  Ada King"
    assert text[1].startswith(f"Ada King is in sync in {US}")
    ada.settles()


def test_the_answer_of_a_held_user_has_the_cause_and_the_next_step(story: StoryHarness) -> None:
    story.user("grace", last_name="Hopper", email_verified=0)
    story.apply()
    assert answer(story, "grace").startswith(f"Grace Hopper is not in {US} because the email is not verified")
    assert answer(story, "grace").endswith(". The user verifies it in Clerk, or set trust_email: always.")
    story.settles(held={("grace", "EmailUnverified")})


def test_the_line_of_where_that_does_not_match_is_named_with_the_value_that_it_saw(ada: StoryHarness) -> None:
    ada.store["where"] = {"metadata.brand": "acme", "locale": ["en-US", "en-GB"], "note": "vip"}
    ada.user("bob", locale="da-DK", metadata='{"brand": "acme"}')
    (store,) = ada("explain", "user_bob", "--output", "json").json["stores"]
    assert store["answer"] == (
        f"Bob is not in {US} because the store wants locale in en-US, en-GB, and the profile has da-DK; "
        "the store wants note: vip, and the profile has no value."
    )
    assert store["where"][0] == {"path": "locale", "wanted": ["en-US", "en-GB"], "found": "da-DK"}
    assert "in Shopify" not in ada("explain", "user_bob").out, "no table of empty fields"
    assert answer(ada, "ada").startswith(f"Ada King leaves {US} (customer {number(ada)}) because the store wants")
    ada.apply()
    said = answer(ada, "ada")
    assert said.startswith(f"Ada King was released from {US} ")
    assert said.endswith(f"Customer {number(ada)} stays in the shop.")
    ada.settles()


def test_a_user_who_is_gone_or_deleted_is_reported_as_such(ada: StoryHarness) -> None:
    ada.user("ada", deleted_at="2026-11-01T00:00:00Z")
    assert "because the profile is marked as deleted since 2026-11-01 00:00 UTC" in answer(ada, "ada")
    ada.user("bob")
    ada.gone("ada")
    ada.apply()
    assert "was released from" in answer(ada, "ada")
    assert "because the profile row is gone. Customer" in answer(ada, "ada")
    ada.store["on_leave"] = "erase"
    ada.gone("bob")
    ada.user("cyd")
    ada.apply()
    ada.user("bob")
    said = answer(ada, "bob")
    assert said.startswith(f"Bob was erased from {US} on request")
    assert said.endswith("if there is one; then run reconciler mappings forget USER.")
    ada.settles(held={("bob", "Erased")})


def test_a_pending_user_has_the_action_and_the_next_try(ada: StoryHarness) -> None:
    ada.user("bob")
    not_running = "No controller runs: `reconciler apply --user user_bob` does it, or start `reconciler run`."
    assert answer(ada, "bob") == f"Bob is not in {US} yet: the next try creates the customer. {not_running}"
    ada("nudge", "user_bob")
    assert answer(ada, "bob").endswith(not_running)
    now = datetime.fromisoformat(ada.now())
    engine = open_engine(ada.settings["state"]["url"])
    StateStore(engine).put_replica(Replica(owner="one", config_digest="d", since=now, seen_at=now))
    engine.dispose()
    assert answer(ada, "bob").endswith("The next try is due now.")
    ada.user("ada", last_name="Lovelace")
    said = f"Ada Lovelace is not in sync in {US} (customer {number(ada)}): the next try writes last_name (profile changed)."
    assert answer(ada, "ada").startswith(said)


def test_several_reasons_are_counted_and_all_named(ada: StoryHarness) -> None:
    ada.store["fields"] = {"phone": "enforce"}
    ada.store["country"] = "US"
    ada.user("ada", phone="not a phone", email_verified=0)
    ada.apply()
    said = answer(ada, "ada")
    assert said.startswith(f"Ada King is held in {US} (customer {number(ada)}) for 2 reasons: ")
    assert "the email is not verified" in said
    assert "phone is not written: it is not a phone number" in said
    ada.settles(held={("ada", "EmailUnverified"), ("ada", "PhoneInvalid")})


def test_a_paused_store_says_so(ada: StoryHarness) -> None:
    ada.store["paused"] = True
    assert answer(ada, "ada").endswith("Nothing is written there now: the store is paused in stores.yaml.")
    ada.user("bob")
    expected = f"Bob is not in {US} because the store is paused in stores.yaml. Run reconciler resume STORE, or"
    assert answer(ada, "bob").startswith(expected)


def test_a_guard_says_what_to_approve(ada: StoryHarness) -> None:
    ada.store["guards"] = {"update": {"max": 0}}
    ada.user("ada", last_name="Lovelace")
    ada.apply()
    assert "because more would change than the store's guards allow" in answer(ada, "ada")
    assert "approve it by its digest" in answer(ada, "ada")


def test_a_shop_that_does_not_answer_is_not_called_in_sync(ada: StoryHarness) -> None:
    ada.shop().faults.add("status", status=402, times=None)
    said = answer(ada, "ada", code=1)
    assert said.startswith(f"Ada King could not be checked in {US}: ")
    assert "in sync" not in said


def test_stores_that_need_nothing_are_one_line_each(ada: StoryHarness) -> None:
    ada.second_shop()
    ada.stores[EU]["where"] = {"locale": "de-DE"}
    said = ada("explain", "user_ada")
    lines = said.out.splitlines()
    assert lines[1] == "Ada King is in sync in 1 and not wanted by 1 of 2 stores."
    assert "in Shopify" not in said.out
    assert lines[-1] == "2 stores in short: --all shows every field"
    assert " ".join(lines[2:]).count("because the store wants locale: de-DE") == 1
    assert "in Shopify" in ada("explain", "user_ada", "--all").out
    ada.user("ada", last_name="Lovelace")
    detailed = ada("explain", "user_ada").out
    assert "in Shopify" in detailed
    assert detailed.index("Lovelace") < detailed.index("wants locale: de-DE")
    ada.user("ada", last_name="King")
    ada.settles()


def test_the_answer_has_the_email_where_there_is_no_name(story: StoryHarness) -> None:
    story.user("bob", first_name=None)
    story.apply()
    assert answer(story, "bob").startswith(mail("bob"))
    story.settles()
