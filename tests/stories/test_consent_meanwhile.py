"""Marketing consent, and what happens in between: the customer answers, the run dies, the policy changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.harness import EU
from tests.stories.consent import MID, NEVER, NEW, NO, OLD, PHONE, RULE, WRITE, YES, answers, consents, guest, leaves
from tests.stories.harness import StoryHarness, locked_at, mail

NEWEST = "2026-04-01T00:00:00Z"
UNDATED = {"email": {"from": "metadata.news.yes", "withdraw": True}}


def test_who_unsubscribes_while_a_yes_without_a_time_is_written_stays_unsubscribed(news: StoryHarness) -> None:
    news.user("ada")
    news.apply()
    answers(news, "ada", yes=True, at=None)

    def leave(_variables: Any) -> bool:
        leaves(news, "ada")
        return False

    news.shop().faults.add("status", on=WRITE, when=leave, times=None)
    news.apply()
    assert news.calls()[WRITE] == 1
    assert consents(news)["ada"][0] == NO
    said = news("explain", "user_ada", "--output", "json").json["stores"][0]["consent"][0]
    assert (said["outcome"], said["written"]) == ("nothing", [])
    news.settles()


@pytest.mark.parametrize("then", ["continues", "dies"])
def test_a_yes_without_a_time_with_a_lost_reply_is_known_as_ours(news: StoryHarness, then: str) -> None:
    news.store["consent"] = UNDATED
    news.user("ada")
    news.apply()
    answers(news, "ada", yes=True, at=None)
    news.shop().faults.add("lost_after", on=WRITE, times=1)
    if then == "dies":
        news.shop().faults.add("status", status=423, when=lambda _: consents(news)["ada"][0] == YES, times=None)
    news.apply(code=int(then == "dies"))
    news.shop().faults.clear()
    state, at = consents(news)["ada"]
    assert (state, news.calls()[WRITE]) == (YES, 1)
    news.settles()
    assert consents(news)["ada"] == (state, at)
    said = news("explain", "user_ada", "--output", "json").json["stores"][0]
    (proof,) = said["consent"][0]["written"]
    assert (said["status"], proof["consent"]) == ("in_sync", f"{YES}, at {at}, SINGLE_OPT_IN, from metadata.news.yes")
    answers(news, "ada", yes=False, at=None)
    news.apply()
    assert consents(news)["ada"][0] == NO
    news.settles()


def test_a_run_that_dies_within_a_relink_forgets_no_withdrawal(news: StoryHarness) -> None:
    answers(news, "ada", yes=True, at=MID)
    news.apply()
    leaves(news, "ada", NEW)
    news.apply()
    guest(news, "eve", NEVER, None)
    news.user("ada", email=mail("eve"))
    assert news.actions() == {"ada": "relink"}
    with locked_at(news, 5, "lost_after"):
        news.apply(code=1)
    assert news.theirs("ada").email == mail("eve"), "the new customer has the back-link, and the row does not say so"
    news.apply()
    assert consents(news)["eve"] == (NEVER, None)
    news.settles()


@pytest.mark.parametrize("is_killed", [False, True])
def test_who_takes_over_a_customer_is_not_subscribed_by_a_yes_from_before_they_unsubscribed(
    news: StoryHarness,
    is_killed: bool,  # noqa: FBT001  a case
) -> None:
    for name in ("ada", "bob", "stay"):
        answers(news, name, yes=True, at=MID)
    news.apply()
    leaves(news, "ada", OLD)  # after our write, whatever time staff gave it
    leaves(news, "bob", NEW)
    news.apply()
    news.staff("delete", id=news.theirs("bob").id)
    news.apply()
    assert (consents(news)["ada"], consents(news)["bob"]) == ((NO, OLD), (NEVER, None))
    for name in ("ada", "bob"):  # as after a move to another Clerk instance, with the rows of before
        news.gone(name)
        answers(news, f"{name}_2", yes=True, at=MID, email=mail(name))
    assert news.actions() == {"ada_2": "adopt", "bob_2": "adopt"}
    if is_killed:  # after the write of the back-link, which is the first one where there is none
        news.staff("delete_metafield", id=news.at(mail("ada")).id, namespace="clerk", key="user_id")
        with locked_at(news, 1, "lost_after"):
            news.apply("--user", "user_ada_2", code=1)
        assert news.theirs("ada_2").email == mail("ada")
    news.apply()
    assert (consents(news)["ada"], consents(news)["bob"]) == ((NO, OLD), (NEVER, None))
    news.settles()
    answers(news, "bob_2", yes=True, at=NEWEST)
    news.apply()
    assert consents(news)["bob"] == (YES, NEWEST)
    news.settles()


@pytest.mark.parametrize("on_leave", ["keep", "delete"])
def test_who_gets_a_new_customer_after_a_former_user_with_the_email_unsubscribed_needs_a_newer_yes(
    news: StoryHarness, on_leave: str
) -> None:
    news.store["on_leave"] = on_leave
    for name in ("ada", "bob", "cyd", "stay"):
        answers(news, name, yes=True, at=MID)
    news.apply()
    leaves(news, "ada", NEW)
    leaves(news, "cyd", NEW)
    news.apply()
    for name in ("ada", "bob"):
        news.staff("delete", id=news.theirs(name).id)
        news.gone(name)
    news.gone("cyd")
    if on_leave == "delete":
        news.apply()
    for name in ("ada", "bob", "cyd"):  # as after a move to another Clerk instance, with the rows of before
        answers(news, f"{name}_2", yes=True, at=MID, email=mail(name))
    answers(news, "new", yes=True, at=MID)
    news.apply()
    there = (NO, NEW) if on_leave == "keep" else (NEVER, None)
    expected = {"ada": (NEVER, None), "bob": (NEVER, None), "cyd": there, "stay": (YES, MID), "new": (YES, MID)}
    assert consents(news) == expected
    news.settles()
    for name in ("ada", "cyd"):
        answers(news, f"{name}_2", yes=True, at=NEWEST)
    news.apply()
    assert consents(news) == expected | {"ada": (YES, NEWEST), "cyd": (YES, NEWEST)}
    news.settles()


def test_a_saved_plan_subscribes_no_one_who_has_unsubscribed_since(news: StoryHarness) -> None:
    for name in ("ada", "bob"):
        news.user(name)
    news.apply()
    answers(news, "ada", yes=True, at=MID, first_name="Adah")
    answers(news, "bob", yes=True, at=MID)
    path = news.folder / "the.plan"
    assert news("plan", "--out", str(path)).code == 0
    leaves(news, "ada", NEW)
    said = news("apply", str(path), "--yes", "--output", "json")
    (failed,) = said.json["stores"][0]["failed"]
    assert (said.code, failed["clerk_user_id"], failed["result"]) == (1, "user_ada", "refused")
    assert "the customer has changed in Shopify" in failed["message"]
    assert consents(news) == {"ada": (NO, NEW), "bob": (YES, MID)}
    news.apply()
    assert (news.theirs("ada").first_name, consents(news)["ada"]) == ("Adah", (NO, NEW))
    news.settles()


def test_an_aborted_rollout_of_consent_withdraws_nothing_and_grants_no_more(story: StoryHarness) -> None:
    story.second_shop()
    story.rollout = {"soak_s": 0}
    for name in ("ada", "bob"):
        story.user(name, metadata=json.dumps({"news": {"yes": True, "at": MID}}))
    story.apply()
    for wave, store in enumerate(story.stores.values(), 1):
        store["wave"] = wave
    story.apply()
    for store in story.stores.values():
        store["consent"] = {"email": RULE}
    story.apply()
    assert story("rollout", "abort", "--yes").code == 0
    story.apply()
    everyone = {"ada": (YES, MID), "bob": (YES, MID)}
    assert consents(story) == everyone
    assert consents(story, shop=EU) == dict.fromkeys(everyone, (NEVER, None))
    leaves(story, "ada", NEW)
    for store in story.stores.values():
        del store["consent"]
    story.apply()
    for store in story.stores.values():
        store["consent"] = {"email": RULE}
    story.apply()
    assert consents(story) == everyone | {"ada": (NO, NEW)}


@pytest.mark.parametrize("is_new", [True, False])
def test_a_customer_who_is_erased_within_a_grant_stays_erased(news: StoryHarness, *, is_new: bool) -> None:
    if not is_new:
        news.user("ada")
        news.apply()
    answers(news, "ada", yes=True, at=MID, first_name="Adah")

    def erase(_variables: Any) -> bool:
        news.staff("redact", id=news.theirs("ada").id)
        return False

    news.shop().faults.add("status", on=WRITE, when=erase, times=None)
    news("apply", "--yes")
    news.shop().faults.clear()
    news.apply()
    (one,) = news.everybody().values()
    assert (one.email, one.first_name) == (None, None)
    news.settles(held={("ada", "Erased")})


def test_a_pause_grants_nothing_and_afterwards_the_last_answer_counts(news: StoryHarness) -> None:
    answers(news, "ada", yes=True, at=MID)
    news.apply()
    news.store["paused"] = True
    answers(news, "ada", yes=True, at=NEW)
    answers(news, "bob", yes=True, at=NEW)
    leaves(news, "ada", NEWEST)
    news.apply()
    assert consents(news) == {"ada": (NO, NEWEST)}
    news.store["paused"] = False
    news.apply()
    assert consents(news) == {"ada": (NO, NEWEST), "bob": (YES, NEW)}
    news.settles()


def test_accepted_drift_and_its_end_leave_consents_alone(news: StoryHarness) -> None:
    answers(news, "ada", yes=True, at=MID)
    news.apply()
    leaves(news, "ada", NEW)
    assert "nothing of user_ada drifts" in news("accept", "user_ada", "--until", "2999-12-31", "--yes").err
    news.staff("edit", id=news.theirs("ada").id, first_name="Edited")
    assert news("accept", "user_ada", "--until", "2999-12-31", "--yes").code == 0
    answers(news, "ada", yes=True, at=NEWEST)
    news.apply()
    assert (news.theirs("ada").first_name, consents(news)["ada"]) == ("Edited", (YES, NEWEST))
    leaves(news, "ada")
    assert news("heal", "user_ada").code == 0
    news.apply()
    assert (news.theirs("ada").first_name, consents(news)["ada"][0]) == ("Ada", NO)
    news.settles()


def test_a_yes_that_found_the_customer_subscribed_is_not_written_for_another_one(news: StoryHarness) -> None:
    for name in ("ada", "bob"):
        guest(news, name, YES, OLD)
        answers(news, name, yes=True, at=MID)
    news.apply()
    assert consents(news) == {"ada": (YES, OLD), "bob": (YES, OLD)}
    guest(news, "eve", NEVER, None)
    news.user("ada", email=mail("eve"))
    news.staff("delete", id=news.theirs("bob").id)
    assert news.actions() == {"ada": "relink", "bob": "create"}
    news.apply()
    assert consents(news) == {"ada": (YES, OLD), "eve": (NEVER, None), "bob": (NEVER, None)}
    news.settles()


def test_a_later_yes_that_found_our_own_grant_is_not_written_for_another_customer(news: StoryHarness) -> None:
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at=MID)
    news.apply()
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at=NEW)
    news.apply()
    assert consents(news) == {"ada": (YES, MID), "bob": (YES, MID)}
    news.staff("delete", id=news.theirs("ada").id)
    answers(news, "bob", yes=False, at=None)
    news.apply()
    assert (consents(news)["ada"], consents(news)["bob"][0]) == ((NEVER, None), NO)
    news.settles()


def test_a_yes_that_is_in_effect_at_the_customer_that_the_user_leaves_is_not_written_for_the_next_one(
    news: StoryHarness,
) -> None:
    news.user("ada")
    news.apply()
    news.staff("consent", id=news.theirs("ada").id, channel="email", state=YES, level="SINGLE_OPT_IN", at=NEW)
    guest(news, "eve", NO, OLD)
    answers(news, "ada", yes=True, at=MID, email=mail("eve"))
    assert news.actions() == {"ada": "relink"}
    news.apply()
    assert consents(news)["eve"] == (NO, OLD)
    news.settles()


@pytest.mark.parametrize("how", ["relink", "merge"])
def test_a_withdrawal_at_the_customer_that_the_user_leaves_counts_although_it_was_not_seen_before(
    news: StoryHarness, how: str
) -> None:
    news.store["on_email_conflict"] = how
    rules = news.store.pop("consent")
    answers(news, "ada", yes=True, at=MID)
    news.apply()
    leaves(news, "ada", NEW)
    guest(news, "eve", NEVER, None)
    news.store["consent"] = rules
    news.user("ada", email=mail("eve"))
    assert news.actions() == {"ada": how}
    news.apply()
    assert consents(news)["eve"] == (NEVER, None)
    news.settles()
    answers(news, "ada", yes=True, at=NEWEST)
    news.apply()
    assert consents(news)["eve"] == (YES, NEWEST)
    news.settles()


MERGES = {  # who: the consent of the user's customer, that of the other one, and which of both remains
    "ada": (YES, NO, "ours"),
    "bob": (YES, NO, "other"),
    "cyd": (NO, YES, "ours"),
    "dan": (NO, YES, "other"),
    "eve": (NO, NEVER, "other"),
}


def test_a_merge_in_shopify_subscribes_no_one_who_is_unsubscribed_after_it(news: StoryHarness) -> None:
    news.store["guards"]["consent"] = {"max": 50}
    for name in MERGES:
        answers(news, name, yes=True, at=MID)
    news.apply()
    for name, (ours, *_) in MERGES.items():
        if ours == NO:
            leaves(news, name, NEW)
    news.apply()
    for name, (_, other, keep) in MERGES.items():
        pair = (news.theirs(name).id, guest(news, f"{name}-guest", other, OLD))
        one, two = pair if keep == "ours" else pair[::-1]
        news.staff("merge", keep=one, other=two)
    found = {name.partition("-")[0]: state for name, (state, _) in consents(news).items()}
    assert found == {"ada": YES, "bob": NO, "cyd": NO, "dan": YES, "eve": NEVER}, "as Shopify merges"
    news.apply()
    news.apply()
    assert {name.partition("-")[0]: state for name, (state, _) in consents(news).items()} == found
    news.settles(held=news.held())


def test_a_time_without_consent_and_new_addresses_change_no_answer(news: StoryHarness) -> None:
    news.store["fields"] = {"phone": "enforce"}
    for number, name in enumerate(("ada", "bob", "cyd")):
        answers(news, name, yes=True, at=MID, phone=PHONE.format(100 + number))
    news.apply()
    for name in ("bob", "cyd"):
        at = {"bob": OLD, "cyd": NEW}[name]  # one with a time before the yes
        for channel in ("email", "sms"):
            news.staff("consent", id=news.theirs(name).id, channel=channel, state=NO, level="SINGLE_OPT_IN", at=at)
    rules = news.store.pop("consent")
    for number, name in enumerate(("ada", "bob", "cyd")):
        news.user(name, email=mail(f"{name}2"), phone=PHONE.format(200 + number))
    news.apply()
    news.store["consent"] = rules
    news.apply()
    for channel in ("email", "sms"):
        assert consents(news, channel) == {"ada2": (YES, MID), "bob2": (NO, OLD), "cyd2": (NO, NEW)}
    news.settles()


def test_a_withdrawal_at_a_customer_who_is_deleted_with_the_user_counts_when_the_user_is_back(
    news: StoryHarness,
) -> None:
    news.store["on_leave"] = "delete"
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at=MID)
    news.apply()
    answers(news, "ada", yes=True, at=NEW)
    leaves(news, "ada", NEWEST)
    news.gone("ada")
    news.apply()
    assert consents(news) == {"bob": (YES, MID)}
    answers(news, "ada", yes=True, at=NEW)
    news.apply()
    assert consents(news)["ada"] == (NEVER, None)
    news.settles()
