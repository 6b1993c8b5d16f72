"""Marketing consent through the command line: what the shop has in the end, for each pair of answers."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from reconciler.simulator.customers.records import rare
from reconciler.simulator.faults import FaultKind
from tests.cli.harness import EU
from tests.stories.consent import MID, NEVER, NEW, NO, OLD, PHONE, RULE, WAITS, YES, answers, consents, guest
from tests.stories.harness import StoryHarness, at_the_nth_write, mail

PAIRS: list[tuple[str, str, str | None, Any, str | None, str, str | None]] = [
    # name, the shop's state and time, the profile's answer and time, the shop's state and time in the end
    ("newcomer", NEVER, None, True, NEW, YES, NEW),
    ("silent", NEVER, None, None, None, NEVER, None),
    ("undated", NEVER, None, True, None, YES, None),
    ("back", NO, OLD, "yes", MID, YES, MID),
    ("gone", NO, MID, 1, OLD, NO, MID),
    ("tied", NO, MID, True, MID, NO, MID),
    ("loyal", YES, OLD, True, NEW, YES, OLD),
    ("leaver", YES, OLD, False, MID, NO, MID),
    ("returner", YES, MID, False, OLD, YES, MID),
    ("nullified", YES, MID, None, NEW, YES, MID),
    ("doubtful", WAITS, OLD, True, NEW, WAITS, OLD),
    ("recanted", WAITS, OLD, False, NEW, NO, NEW),
    ("refuser", NEVER, None, False, NEW, NEVER, None),
]


def test_each_pair_of_answers_ends_with_the_newest_one_for_guests_that_are_adopted(news: StoryHarness) -> None:
    for number, (name, state, at, yes, said_at, _, _) in enumerate(PAIRS):
        phone = PHONE.format(number + 100)
        guest(news, name, state, at, phone)
        answers(news, name, yes, said_at, phone=phone)
    plan = news.plan()
    changes = {c["field"]: c for a in plan["actions"] if a["clerk_user_id"] == "user_back" for c in a["changes"]}
    assert changes["consent.email"] == {
        "field": "consent.email",
        "before": "UNSUBSCRIBED, at 2026-01-01T00:00:00Z, SINGLE_OPT_IN",
        "after": "SUBSCRIBED, at 2026-02-01T00:00:00Z, SINGLE_OPT_IN, from metadata.news.yes",
        "why": "profile changed",
    }
    news.apply()
    expected = {name: (state, at) for name, *_, state, at in PAIRS}
    for channel in ("email", "sms"):
        found = consents(news, channel)
        state, at = found.pop("undated")
        assert (state, at is not None) == (YES, True), "with the time of the write"
        assert found == {name: pair for name, pair in expected.items() if name != "undated"}
    news.settles()


def test_a_customer_answers_in_shopify_and_it_is_theirs(news: StoryHarness) -> None:
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at=MID)
    assert news.actions() == {"ada": "create", "bob": "create"}
    news.apply()
    assert consents(news) == {"ada": (YES, MID), "bob": (YES, MID)}
    news.settles()
    news.staff("consent", id=news.theirs("ada").id, channel="email", state=NO, level="SINGLE_OPT_IN", at=NEW)
    news.staff("consent", id=news.theirs("bob").id, channel="email", state=NO, level="SINGLE_OPT_IN", at=OLD)
    drift = news("drift", "--output", "json").json
    assert [(s["drift"], s["intent"]) for s in drift["stores"]] == [([], [])]
    news.settles()
    said = news("explain", "user_ada", "--output", "json").json["stores"][0]["consent"][0]
    assert said["why"].startswith("the answer in Shopify of 2026-03-01 00:00 UTC is newer")
    assert (said["channel"], said["outcome"], said["granted"], said["at"]) == ("email", "nothing", True, MID)
    assert (said["source"], said["shown"]) == ("metadata.news.yes", f"UNSUBSCRIBED, at {NEW}, SINGLE_OPT_IN")
    (proof,) = said["written"]
    assert proof["consent"] == f"SUBSCRIBED, at {MID}, SINGLE_OPT_IN, from metadata.news.yes"
    assert proof["run_id"]
    assert "not earlier than" in news("explain", "user_bob").out
    shown = news("explain", "user_ada").out
    assert "consent.email" in shown
    assert "is newer" in shown
    answers(news, "ada", yes=True, at="2026-03-02T00:00:00Z")
    assert news.actions() == {"ada": "update"}
    news.apply()
    assert consents(news)["ada"] == (YES, "2026-03-02T00:00:00Z")
    news.settles()


def test_a_yes_that_becomes_a_no_without_a_time_is_withdrawn_only_where_it_was_ours(news: StoryHarness) -> None:
    guest(news, "bob", YES, OLD)
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at=MID)
    news.apply()
    for name in ("ada", "bob"):
        answers(news, name, yes=False, at=None)
    news.apply()
    assert {name: state for name, (state, _) in consents(news).items()} == {"ada": NO, "bob": YES}
    news.settles()
    news.store["consent"]["email"] = {**RULE, "withdraw": False}
    answers(news, "bob", yes=False, at=NEW)
    news.apply()
    assert consents(news)["bob"] == (YES, OLD)
    news.settles()


def test_a_no_without_a_time_ends_no_grant_to_a_former_user_of_the_customer(news: StoryHarness) -> None:
    answers(news, "ada", yes=True, at=MID)
    news.user("bob")
    news.apply()
    news.gone("ada")
    answers(news, "eve", yes=False, at=None, email=mail("ada"))
    assert news.actions() == {"eve": "adopt"}
    news.apply()
    assert consents(news)["ada"] == (YES, MID)
    said = news("explain", "user_eve", "--output", "json").json["stores"][0]["consent"][0]
    assert (said["granted"], said["why"]) == (False, "the profile has no time of the no")
    answers(news, "eve", yes=False, at=NEW)
    news.apply()
    assert consents(news)["ada"] == (NO, NEW)
    news.settles()


def test_a_store_without_times_withdraws_what_it_granted(news: StoryHarness) -> None:
    news.store["consent"] = {"email": {"from": "metadata.news.yes", "withdraw": True}}
    guest(news, "bob", YES, OLD)
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at=None)
    news.apply()
    assert {name: state for name, (state, _) in consents(news).items()} == {"ada": YES, "bob": YES}
    for name in ("ada", "bob"):
        answers(news, name, yes=False, at=None)
    news.apply()
    assert {name: state for name, (state, _) in consents(news).items()} == {"ada": NO, "bob": YES}
    news.settles()


def test_an_answer_that_cannot_be_read_or_is_to_come_is_held_and_the_rest_is_written(news: StoryHarness) -> None:
    answers(news, "ada", yes="perhaps", at=MID)
    answers(news, "bob", yes=True, at="2099-01-01T00:00:00Z")
    news.apply()
    assert consents(news) == {"ada": (NEVER, None), "bob": (NEVER, None)}
    news.settles(held={("ada", "ProfileInvalid"), ("bob", "ProfileInvalid")})


@pytest.mark.parametrize("kind", ["lost_before", "lost_after", "truncated"])
def test_a_lost_answer_to_a_consent_is_finished(news: StoryHarness, kind: FaultKind) -> None:
    answers(news, "ada", yes=True, at=MID)
    news.shop().faults.add(kind, on="customerEmailMarketingConsentUpdate", times=1)
    news.apply()
    assert consents(news) == {"ada": (YES, MID)}
    news.settles()


def test_a_run_that_dies_between_the_customer_and_the_consent_is_finished_by_the_next(news: StoryHarness) -> None:
    answers(news, "ada", yes=True, at=MID)
    at_the_nth_write(news, 1, "status", lambda: None)
    news.shop().faults.clear()
    news.shop().faults.add("status", status=423, on="customerEmailMarketingConsentUpdate", times=None)
    news.apply(code=1)
    assert consents(news) == {"ada": (NEVER, None)}
    news.shop().faults.clear()
    assert news.actions() == {"ada": "update"}
    news.apply()
    assert consents(news) == {"ada": (YES, MID)}
    news.settles()


def test_a_customer_who_leaves_just_before_our_write_stays_unsubscribed(news: StoryHarness) -> None:
    news.user("ada")
    news.apply()
    answers(news, "ada", yes=True, at=MID)

    def leave(_variables: Any) -> bool:
        news.staff("consent", id=news.theirs("ada").id, channel="email", state=NO, level="SINGLE_OPT_IN", at=NEW)
        return False

    news.shop().faults.add("status", on="customerEmailMarketingConsentUpdate", when=leave, times=None)
    news.apply()
    assert news.calls()["customerEmailMarketingConsentUpdate"] == 1
    assert consents(news)["ada"] == (NO, NEW)
    assert [c["written"] for c in news("explain", "user_ada", "--output", "json").json["stores"][0]["consent"]] == [
        [],
        [],
    ]
    news.settles()


def test_a_yes_is_written_later_where_the_clock_of_shopify_is_behind(news: StoryHarness) -> None:
    news.user("ada")
    news.apply()
    shop, at = news.shop().shop, news.now()
    answers(news, "ada", yes=True, at=at)
    answers(news, "bob", yes=True, at=MID)
    clock, shop.clock = shop.clock, lambda: clock() - 60
    said = news.apply(code=1)["stores"][0]
    assert "clock is behind" in said["failed"][0]["message"]
    assert said["applied"] == {"create": 1}
    shop.clock = clock
    news.apply()
    assert {state for state, _ in consents(news).values()} == {YES}
    news.settles()


def test_what_was_answered_outlives_a_customer_that_is_lost_while_consent_is_off(news: StoryHarness) -> None:
    answers(news, "ada", yes=True, at=MID)
    news.apply()
    rules = news.store.pop("consent")
    news.settles()
    news.staff("delete", id=news.theirs("ada").id)
    news.apply()
    news.store["consent"] = rules
    news.apply()
    assert consents(news) == {"ada": (NEVER, None)}
    news.settles()


def test_an_undone_customer_is_not_subscribed_when_created_again(news: StoryHarness) -> None:
    answers(news, "ada", yes=True, at=MID)
    digest = news("plan", "--output", "json").json["digest"]
    news.apply()
    assert news("undo", "--plan", digest, "--yes").code == 0
    assert consents(news) == {}
    news.user("ada", first_name="Adah")
    news.apply()
    assert consents(news) == {"ada": (NEVER, None)}


def test_a_created_customer_who_has_unsubscribed_since_outlives_undo(news: StoryHarness) -> None:
    answers(news, "ada", yes=True, at=MID)
    digest = news("plan", "--output", "json").json["digest"]
    news.apply()
    news.staff("consent", id=news.theirs("ada").id, channel="email", state=NO, level="SINGLE_OPT_IN", at=NEW)
    assert news("undo", "--plan", digest, "--yes").code == 0
    assert consents(news) == {"ada": (NO, NEW)}
    news.settles()


def test_the_proof_is_found_behind_many_later_writes_and_the_answer_of_a_held_user_is_shown(news: StoryHarness) -> None:
    answers(news, "ada", yes=True, at=MID)
    answers(news, "bob", yes=True, at=MID, email_verified=0)
    news.apply()
    with closing(sqlite3.connect(news.folder / "state.db")) as connection, connection:
        names = "store, shopify_shop, clerk_user_id, shopify_customer_id, kind, changes, plan_digest, message"
        later = f"select '2999-01-01 00:00:00.000000', {names} from reconciler_event where id = 1"
        for _ in range(60):
            connection.execute(f"insert into reconciler_event (at, {names}) {later}")
    for user, written in (("user_ada", 1), ("user_bob", 0)):
        said = news("explain", user, "--output", "json").json["stores"][0]["consent"][0]
        assert (said["granted"], said["at"], len(said["written"])) == (True, MID, written)


def test_an_email_that_was_removed_in_the_meantime_is_not_taken_for_a_consent(news: StoryHarness) -> None:
    news.store["require_email"] = False
    answers(news, "ada", yes=True, at=MID)

    def remove(_variables: Any) -> bool:
        with news.shop().lock:
            for each in news.shop().shop.people:
                news.shop().shop.people.change(each, {"email": None})
        return False

    news.shop().faults.add("status", on="customerEmailMarketingConsentUpdate", when=remove, times=None)
    said = news.apply(code=0)
    assert said["stores"][0]["applied"]["create"] == 1
    news.shop().faults.clear()
    assert news.theirs("ada").email == mail("ada")
    news.apply()
    assert consents(news) == {"ada": (YES, MID)}
    news.settles()


def test_consents_have_a_guard_of_their_own(news: StoryHarness) -> None:
    news.store["guards"] |= {"consent": {"max": 1}}
    guest(news, "ada", NEVER, None)
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at=MID)
    assert news.actions() == {"ada": "adopt", "bob": "create"}
    assert news.held() == {("ada", "GuardExceeded"), ("bob", "GuardExceeded")}
    news.apply()
    assert {state for state, _ in consents(news).values()} == {NEVER}
    plan = news("plan", "--output", "json").json
    assert [h["action"]["kind"] for h in plan["stores"][0]["holds"]] == ["update", "update"]
    assert "2 consent grant actions are above the ceiling of 1" in plan["stores"][0]["holds"][0]["message"]
    news.user("bob", first_name="Robert")
    assert news.actions() == {"bob": "update"}
    news.apply()
    assert (news.theirs("bob").first_name, consents(news)["bob"][0]) == ("Robert", NEVER)
    digest = news("plan", "--output", "json").json["digest"]
    news.apply("--approve", digest)
    assert consents(news) == {"ada": (YES, MID), "bob": (YES, MID)}
    news.settles()


def test_withdrawals_do_not_wait_with_grants_nor_grants_with_withdrawals(news: StoryHarness) -> None:
    def says(name: str, email: tuple[bool, str], sms: tuple[bool, str] | None = (True, OLD), **more: Any) -> None:
        given = {"news": email, "sms": sms or (None, None)}
        said = {path: {"yes": yes, "at": at} for path, (yes, at) in given.items()}
        news.user(name, metadata=json.dumps(said), **more)

    news.store["consent"] = {"email": RULE, "sms": {"from": "metadata.sms.yes", "at": "metadata.sms.at"}}
    for number, name in enumerate(("ada", "bob", "cyd")):
        says(name, (True, OLD), None, phone=PHONE.format(number + 100))
    news.apply()
    news.store["guards"] |= {"consent": {"max": 1}}
    says("ada", (False, MID))
    says("bob", (True, OLD))
    says("cyd", (True, OLD), first_name="Cydney")
    plan = news.plan()
    assert {a["clerk_user_id"]: [c["field"] for c in a["changes"]] for a in plan["actions"]} == {
        "user_ada": ["consent.email"],
        "user_cyd": ["first_name"],
    }
    assert {c["field"] for h in plan["holds"] for c in h["action"]["changes"]} == {"consent.sms"}
    assert all("3 consent grant actions are above the ceiling of 1" in h["message"] for h in plan["holds"])
    news.apply()
    assert (consents(news)["ada"], news.theirs("cyd").first_name) == ((NO, MID), "Cydney")
    assert {state for state, _ in consents(news, "sms").values()} == {NEVER}
    news.settles(held={(name, "GuardExceeded") for name in ("ada", "bob", "cyd")})
    news.apply("--approve", news("plan", "--output", "json").json["digest"])
    assert {state for state, _ in consents(news, "sms").values()} == {YES}
    says("ada", (True, NEW))
    says("bob", (False, NEW))
    says("cyd", (False, NEW), first_name="Cyd")
    held = {h["clerk_user_id"]: h["message"] for h in news.plan()["holds"]}
    assert held.keys() == {"user_bob", "user_cyd"}
    assert all("2 consent withdrawal actions are above the ceiling of 1" in message for message in held.values())
    news.apply()
    assert consents(news) == {"ada": (YES, NEW), "bob": (YES, OLD), "cyd": (YES, OLD)}
    assert news.theirs("cyd").first_name == "Cyd"
    news.apply("--approve", news("plan", "--output", "json").json["digest"])
    assert consents(news) == {"ada": (YES, NEW), "bob": (NO, NEW), "cyd": (NO, NEW)}
    news.settles()


def test_an_approval_lets_withheld_consents_go_with_the_actions_that_they_belong_to(news: StoryHarness) -> None:
    news.store["guards"] |= {"consent": {"max": 1}}
    guest(news, "ada", NEVER, None)
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at=MID)
    plan = news("plan", "--output", "json").json
    held = {h["clerk_user_id"]: h["action"] for h in plan["stores"][0]["holds"]}
    assert {user: [c["field"] for c in action["changes"]] for user, action in held.items()} == {
        "user_ada": ["consent.email"],
        "user_bob": ["consent.email"],
    }
    said = news.apply("--approve", plan["digest"])["stores"][0]
    assert (said["applied"], said["held"]) == ({"adopt": 1, "create": 1}, 0)
    assert consents(news) == {"ada": (YES, MID), "bob": (YES, MID)}
    news.settles()


def test_who_waits_for_the_guard_of_consents_is_held_however_the_rest_was_written(news: StoryHarness) -> None:
    news.store["guards"] |= {"consent": {"max": 1}}
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at=MID)
    path = news.folder / "the.plan"
    assert news("plan", "--out", str(path)).code == 0
    news.shop().faults.add("lost_after", on="customerSet", times=1)
    assert news("apply", str(path), "--yes").code == 0
    assert consents(news) == {"ada": (NEVER, None), "bob": (NEVER, None)}
    rows = news.mappings()
    assert {(row["status"], row["reason"]) for row in rows.values()} == {("held", "GuardExceeded")}


def test_a_grant_cannot_be_undone_and_the_rest_can(news: StoryHarness) -> None:
    news.user("ada")
    news.apply()
    answers(news, "ada", yes=True, at=MID, first_name="Adah")
    digest = news("plan", "--output", "json").json["digest"]
    news.apply()
    said = news("undo", "--plan", digest, "--yes")
    assert "CannotUndo" in said.out
    assert "consent.email is not restored" in said.out
    assert (news.theirs("ada").first_name, consents(news)["ada"]) == ("Ada", (YES, MID))
    news.settles(held={("ada", "Undone")})


def test_a_consent_does_not_move_to_another_customer(news: StoryHarness) -> None:
    answers(news, "ada", yes=True, at=MID)
    news.apply()
    guest(news, "eve", NO, NEW)
    news.user("ada", email=mail("eve"))
    assert news.actions() == {"ada": "relink"}
    news.apply()
    assert consents(news)["eve"] == (NO, NEW)
    assert consents(news)["ada"] == (YES, MID), "the customer that was left is as it was"
    news.settles()


def test_a_user_who_unsubscribed_is_not_subscribed_again_by_a_new_customer(news: StoryHarness) -> None:
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at=MID)
    guest(news, "bob", NO, NEW)
    news.apply()
    for name in ("ada", "bob"):
        news.staff("delete", id=news.theirs(name).id)
    assert news.actions() == {"ada": "create", "bob": "create"}
    news.apply()
    assert consents(news) == {"ada": (NEVER, None), "bob": (NEVER, None)}
    news.settles()
    answers(news, "bob", yes=True, at="2026-03-02T00:00:00Z")
    news.apply()
    assert consents(news)["bob"][0] == YES
    news.settles()


def test_a_store_without_consent_reads_and_writes_none(news: StoryHarness) -> None:
    news.second_shop()
    answers(news, "ada", yes=True, at=MID)
    news.apply()
    assert consents(news) == {"ada": (YES, MID)}
    assert consents(news, shop=EU) == {"ada": (NEVER, None)}
    with news.shop(EU).lock:
        assert all(rare(each).email_consent is None for each in news.shop(EU).shop.people)
    assert news.calls(EU)["customerEmailMarketingConsentUpdate"] == 0
    news.settles()


def test_doctor_says_what_the_rows_answer(news: StoryHarness) -> None:
    def said() -> set[tuple[str, str]]:
        checks = news("doctor", "--output", "json").json["checks"]
        return {(c["level"], c["message"]) for c in checks if c["what"] == "consent"}

    news.user("ada")
    assert said() == {("warning", "no row says yes or no at metadata.news.yes: nothing is written")}
    answers(news, "bob", yes=True, at=MID)
    assert said() == {("ok", "metadata.news.yes: 1 of 2 rows with an answer and its time")}
    answers(news, "cyd", yes=True, at=None)
    answers(news, "dan", yes="perhaps", at=MID)
    assert said() == {
        ("warning", "metadata.news.yes or metadata.news.at can't be read: 1 of 4 rows"),
        (
            "warning",
            "metadata.news.at is missing beside an answer: 1 of 4 rows, only a first yes is written",
        ),
    }
    answers(news, "bob", yes=True, at="2026-02-01 10:00:00")
    assert ("warning", "metadata.news.at has no zone and is read as UTC: 1 of 4 rows") in said()
    news.store["consent"] = {"email": {"from": "metadata.news.yes"}, "sms": {"from": "metadata.news.at"}}
    assert said() == {
        ("warning", "metadata.news.yes can't be read: 1 of 4 rows"),
        ("warning", "metadata.news.yes has no `at` with its time: 2 of 4 rows, only a first yes is written"),
        ("warning", "metadata.news.at has no zone and is read as UTC: 1 of 4 rows"),
        ("ok", "metadata.news.at: 2 of 4 rows with an answer and its time"),
    }


def test_switches_hold_consents_like_any_change_of_the_profile(news: StoryHarness) -> None:
    news.user("ada")
    news.apply()
    news.store["roll_out"] = "hold"
    answers(news, "ada", yes=True, at=MID)
    news.settles(held={("ada", "RollOutHeld")})
    assert consents(news) == {"ada": (NEVER, None)}
