"""Answers that get lost, before the work and after it, on every kind of write: no one twice, no one lost."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stories.consent import MID, NEW, RULE, WRITE, answers, consents
from tests.stories.harness import AVATAR, StoryHarness, mail

ROOTS = ("customerSet", "metafieldsSet", "tagsAdd", "tagsRemove", "metafieldsDelete")
PICTURE = "https://img.example.com/1.png"


@pytest.fixture
def busy(story: StoryHarness) -> StoryHarness:
    """Bob and Cleo are in sync; now every kind of write is due: Ada is new, Dora is a guest, Cleo changes, Bob loses."""
    story.store["metafields"] = {AVATAR: {"from": "image_url", "type": "url"}}
    story.store["tags"] = ["app-user", "early"]
    story.user("bob", image_url=PICTURE)
    story.user("cleo")
    story.apply()
    story.store["tags"] = ["app-user", "late"]
    story.user("ada", image_url=PICTURE)
    story.staff("guest_checkout", email=mail("dora"), first_name="D.")
    story.user("dora", image_url=PICTURE)
    story.user("cleo", first_name="Cleopatra", image_url=PICTURE)
    story.user("bob", image_url=None)
    return story


def check_all_is_done(story: StoryHarness) -> None:
    assert len(story.everybody()) == 4
    for name in ("ada", "bob", "cleo", "dora"):
        assert (story.theirs(name).email, story.theirs(name).tags) == (mail(name), ("app-user", "late"))
        assert story.theirs(name).metafields == ({} if name == "bob" else {AVATAR: PICTURE})
    assert [story.theirs(n).first_name for n in ("cleo", "dora")] == ["Cleopatra", "Dora"]
    assert story.theirs("dora").orders == 1
    story.settles()


@pytest.mark.parametrize(
    "kind",
    [
        "lost_before",
        "lost_after",
        "truncated",
        "internal_error",
        "internal_error_after",
        "internal_user_error",
        "null_payload",
        "html",
        "status_after",
    ],
)
def test_answers_that_get_lost_cost_another_reconcile_and_nothing_else(busy: StoryHarness, kind: Any) -> None:
    faults = [busy.shop().faults.add(kind, on=root) for root in ROOTS]
    assert busy.actions() == {"ada": "create", "dora": "adopt", "bob": "update", "cleo": "update"}
    busy.apply()
    assert [fault.hits for fault in faults] == [1, 1, 1, 1, 1]
    check_all_is_done(busy)


@pytest.mark.parametrize("root", ["customerSet", "metafieldsSet", "tagsAdd"])
def test_a_shop_that_never_answers_one_kind_of_write_is_given_up_and_healed_later(
    busy: StoryHarness, root: str
) -> None:
    busy.shop().faults.add("lost_before", on=root, times=None)
    results = busy.apply(code=1)
    failed = results["stores"][0]["failed"]
    assert failed
    assert all("given up after 5 attempts" in each["message"] for each in failed)
    busy.shop().faults.clear()
    busy.apply()
    check_all_is_done(busy)


def test_what_was_done_though_every_answer_is_lost_counts_as_done(busy: StoryHarness) -> None:
    for root in ROOTS:
        busy.shop().faults.add("lost_after", on=root, times=None)
    busy.apply()
    busy.shop().faults.clear()
    check_all_is_done(busy)


def test_writes_refused_for_the_moment_fail_by_name_and_go_the_next_time(busy: StoryHarness) -> None:
    busy.shop().faults.add("status", status=503, on="customerSet", times=None, retry_after_s=60)
    failed = busy.apply(code=1)["stores"][0]["failed"]
    assert {f["clerk_user_id"] for f in failed} == {"user_ada", "user_cleo", "user_dora"}
    assert {f["result"] for f in failed} == {"failed"}
    busy.shop().faults.clear()
    busy.apply()
    check_all_is_done(busy)


def test_a_neighbour_on_the_same_bucket_makes_it_slower_and_nothing_worse(busy: StoryHarness) -> None:
    for root in ROOTS:
        busy.shop().faults.add("throttled", on=root)
    busy.shop().bucket.drain()
    busy.apply()
    check_all_is_done(busy)


RARE = ("customerDelete", "customerMerge", "customerRequestDataErasure", WRITE)


@pytest.mark.parametrize(("on_leave", "on_conflict"), [("delete", "merge"), ("erase", "relink")])
def test_a_write_that_was_executed_although_the_shop_answers_503_is_done_once(
    story: StoryHarness, on_leave: str, on_conflict: str
) -> None:
    """A 503 may be answered by sending again, be it from Shopify or from a proxy after the execution."""
    story.store.update(on_leave=on_leave, on_email_conflict=on_conflict, consent={"email": RULE})
    for name in ("bob", "cleo"):
        story.user(name)
    answers(story, "dora", yes=True, at=MID)
    story.apply()
    story.staff("guest_checkout", email=mail("new"), first_name="N.")
    story.user("cleo", email=mail("new"))
    answers(story, "dora", yes=False, at=NEW)
    answers(story, "ada", yes=True, at=MID)
    story.gone("bob")
    faults = [story.shop().faults.add("status_after", on=root) for root in (*ROOTS, *RARE)]
    story.apply()
    met = {fault.on for fault in faults if fault.hits}
    assert {"customerSet", WRITE} < met
    assert met & {"customerDelete", "customerRequestDataErasure"}
    assert met & {"customerMerge", "metafieldsDelete"}
    story.shop().faults.clear()
    found = consents(story)
    assert (found["ada"], found["dora"]) == (("SUBSCRIBED", MID), ("UNSUBSCRIBED", NEW))
    assert (story.theirs("cleo").email, story.theirs("cleo").orders) == (mail("new"), 1)
    story.settles()
