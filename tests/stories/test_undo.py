"""The way back: what was written is restored, what somebody changed since stays, and nothing is written again by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stories.harness import AMPLE, AVATAR, StoryHarness, mail

PICTURE = "https://img.example.com/1.png"


def undone(story: StoryHarness, *words: str, code: int = 0) -> Any:
    said = story("undo", "--yes", "--output", "json", *words)
    assert said.code == code, said.out + said.err
    return said.json["stores"][0]


@pytest.fixture
def busy(story: StoryHarness) -> StoryHarness:
    """Ada, Bob, Cyd are in sync; then their rows, the config and a guest give every kind of write."""
    story.store["metafields"] = {AVATAR: {"from": "image_url", "type": "url"}}
    for name in ("ada", "bob", "cyd"):
        story.user(name)
    story.apply()
    story.staff("tag", id=story.theirs("ada").id, tags=["vip"])
    story.staff("guest_checkout", email=mail("gil"), first_name="G.")
    story.staff("guest_checkout", email=mail("new"))
    story.user("ada", first_name="Adah", last_name="King", email=mail("adah"), image_url=PICTURE)
    story.user("cyd", email=mail("new"))
    story.user("gil")
    story.user("dan")
    return story


@pytest.mark.slow
def test_everything_of_one_plan_is_taken_back_and_waits_until_the_profile_moves(busy: StoryHarness) -> None:
    before = busy.everybody()
    digest = busy("plan", "--output", "json").json["digest"]
    assert busy.actions() == {"ada": "update", "cyd": "relink", "gil": "adopt", "dan": "create"}
    busy.apply()
    undone(busy, "--plan", digest)
    assert busy.everybody() == before
    waiting = {("ada", "Undone"), ("gil", "Undone"), ("dan", "Undone"), ("cyd", "Undone")}
    busy.settles(held=waiting)
    busy.user("ada", first_name="Adele")
    busy.user("dan", first_name="Daniel")
    busy.user("gil", first_name="Gilbert")
    busy.user("cyd", first_name="Cydney")
    busy.apply()
    assert busy.theirs("ada").first_name == "Adele"
    assert (busy.theirs("dan").first_name, busy.theirs("gil").first_name) == ("Daniel", "Gilbert")


@pytest.mark.parametrize("saved", [False, True], ids=["fresh", "saved"])
def test_a_plan_that_was_approved_is_taken_back_by_the_digest_that_was_approved(
    busy: StoryHarness,
    saved: bool,  # noqa: FBT001  a case
) -> None:
    busy.store["guards"] = {**AMPLE, "update": {"max": 0}, "create": {"max": 0}}
    before, path = busy.everybody(), str(busy.folder / "the.plan")
    digest = busy("plan", "--output", "json", "--out", path).json["digest"]
    said = busy("apply", *([path] if saved else []), "--yes", "--output", "json", "--approve", digest)
    assert said.code == 0
    assert said.json["digest"] == digest
    assert busy.theirs("ada").first_name == "Adah"
    busy.store["guards"] = AMPLE
    undone(busy, "--plan", digest)
    assert busy.everybody() == before
    busy.settles(held={(name, "Undone") for name in ("ada", "cyd", "dan", "gil")})


@pytest.mark.parametrize("since", ["1h", "2026-01-01T00:00Z"])
def test_everything_since_a_moment_is_taken_back(busy: StoryHarness, since: str) -> None:
    busy.apply()
    undone(busy, "--since", since)
    # Ada was made in that time too, but staff have tagged the customer since: it stays.
    assert [c.id for c in busy.everybody().values() if c.backlink] == [busy.theirs("ada").id]
    assert {c.email for c in busy.everybody().values()} == {mail("gil"), mail("new"), mail("adah")}
    busy.settles(held={(n, "Undone") for n in ("bob", "cyd", "dan", "gil")})


def test_what_somebody_changed_since_stays_and_is_named(busy: StoryHarness) -> None:
    first = busy.theirs("ada")
    digest = busy("plan", "--user", "user_ada", "--output", "json").json["digest"]
    busy.apply("--user", "user_ada")
    busy.staff("edit", id=first.id, first_name="Adele")
    busy.staff("tag", id=first.id, tags=["newsletter"])
    said = busy("undo", "--plan", digest, "--yes")
    assert said.code == 0
    assert "CannotUndo" in said.out
    ada = busy.theirs("ada")
    assert (ada.first_name, ada.last_name, ada.email, ada.metafields) == ("Adele", None, mail("ada"), {})
    assert set(ada.tags) == {"app-user", "newsletter", "vip"}
    busy.store["heal_drift"] = "hold"
    busy.apply("--user", "user_ada")
    assert busy.theirs("ada").first_name == "Adele"
    busy.apply()
    busy.settles(held={("ada", "Undone"), ("ada", "DriftHeld")})


def test_a_created_customer_who_has_bought_since_stays(busy: StoryHarness) -> None:
    digest = busy("plan", "--user", "user_dan", "--output", "json").json["digest"]
    busy.apply("--user", "user_dan")
    busy.staff("order", id=busy.theirs("dan").id)
    before = busy.theirs("dan")
    said = busy("undo", "--plan", digest, "--yes")
    assert said.code == 0
    assert "orders" in said.out
    assert busy.theirs("dan") == before
    busy.apply()
    busy.settles()


def test_a_created_customer_that_staff_have_edited_since_stays(busy: StoryHarness) -> None:
    digest = busy("plan", "--user", "user_dan", "--output", "json").json["digest"]
    busy.apply("--user", "user_dan")
    busy.staff("edit", id=busy.theirs("dan").id, note="call back!")
    before = busy.theirs("dan")
    said = busy("undo", "--plan", digest, "--yes")
    assert said.code == 0
    assert "and note changed since" in said.out
    assert busy.theirs("dan") == before
    busy.apply()
    busy.settles()


def run_number(story: StoryHarness) -> str:
    """The number of the last run that wrote."""
    return str(
        max(
            event["run_id"] or 0
            for event in story("explain", "user_ada", "--output", "json").json["stores"][0]["events"]
        )
    )


def said_of(story: StoryHarness, run: str) -> str:
    """What `undo` of this run says, with single spaces."""
    said = story("undo", "--run", run, "--yes")
    assert said.code == 0, said.err
    return " ".join(said.out.split())


def test_a_created_customer_that_a_later_run_wrote_stays_until_that_run_is_undone(story: StoryHarness) -> None:
    story.store["metafields"] = {AVATAR: {"from": "image_url", "type": "url"}}
    story.user("ada")
    story.apply()
    created = run_number(story)
    story.user("ada", image_url=PICTURE)
    story.apply()
    later, before = run_number(story), story.theirs("ada")
    why = f"the customer was created, and metafields.{AVATAR} written again since by run {later}: the customer is kept"
    assert why in said_of(story, created)
    assert story.theirs("ada") == before
    undone(story, "--run", later)
    assert "CannotUndo" not in said_of(story, created)
    assert story.everybody() == {}
    story.settles(held={("ada", "Undone")})


def test_what_was_undone_of_a_later_run_keeps_no_customer_from_the_undo_of_all(story: StoryHarness) -> None:
    story.user("ada")
    story.apply()
    story.user("ada", first_name="Adah", last_name="King")
    story.apply()
    undone(story, "--run", run_number(story))
    undone(story, "--since", "1h")
    assert story.everybody() == {}
    story.settles(held={("ada", "Undone")})


def test_what_a_later_run_wrote_again_is_said_to_be_that(story: StoryHarness) -> None:
    story.user("ada")
    story.apply()
    story.user("ada", first_name="Adah", last_name="King")
    story.apply()
    run = run_number(story)
    story.user("ada", first_name="Adele")
    story.apply()
    why = f"first_name was written again since by run {run_number(story)}: it is not restored"
    assert why in said_of(story, run)
    assert (story.theirs("ada").first_name, story.theirs("ada").last_name) == ("Adele", None)


@pytest.mark.each_row
@pytest.mark.parametrize(
    ("change", "details", "says"),
    [
        (
            "set_metafield",
            {"namespace": "clerk", "key": "avatar_url", "type": "url", "value": PICTURE},
            f"metafields.{AVATAR} changed",
        ),
        ("delete_metafield", {"namespace": "clerk", "key": "user_id"}, "backlink changed"),
        ("consent", {"channel": "email", "state": "SUBSCRIBED"}, "consent.email changed"),
    ],
)
def test_a_created_customer_that_others_have_changed_since_stays(
    story: StoryHarness, change: str, details: dict[str, Any], says: str
) -> None:
    story.store["metafields"] = {AVATAR: {"from": "image_url", "type": "url"}}
    story.store["consent"] = {"email": {"from": "metadata.newsletter"}}
    story.user("ada")
    story.apply()
    run, customer = run_number(story), story.theirs("ada").id
    story.staff(change, id=customer, **details)
    assert f"{says} since: the customer is kept" in said_of(story, run)
    assert customer in {found.id for found in story.everybody().values()}


def test_tags_are_taken_back_without_touching_anybody_elses(story: StoryHarness) -> None:
    story.user("ada")
    story.user("bob")
    story.apply()
    story.staff("tag", id=story.theirs("ada").id, tags=["vip"])
    story.store["tags"] = ["member"]
    digest = story("plan", "--output", "json").json["digest"]
    story.apply()
    story.staff("tag", id=story.theirs("ada").id, tags=["newsletter"])
    undone(story, "--plan", digest)
    assert story.theirs("ada").tags == ("app-user", "newsletter", "vip")
    assert story.theirs("bob").tags == ("app-user",)
    story.settles(held={("ada", "Undone"), ("bob", "Undone")})
    story.store["tags"] = ["club"]
    story.apply()
    assert (story.theirs("bob").tags) == ("club",)
    story.settles()


def test_a_re_link_is_taken_back_to_the_first_customer(busy: StoryHarness) -> None:
    before = busy.everybody()
    digest = busy("plan", "--user", "user_cyd", "--output", "json").json["digest"]
    busy.apply("--user", "user_cyd")
    undone(busy, "--plan", digest)
    assert busy.everybody() == before
    assert busy.mappings()["cyd"]["shopify_customer_id"] == busy.theirs("cyd").id
    busy.apply()
    busy.settles(held={("cyd", "Undone")})
    busy.store["tags"] = []
    busy.user("cyd", email=mail("cyd"))
    busy.apply()
    assert busy.theirs("cyd").tags == ()
    busy.settles()


def test_undo_goes_through_the_guards_and_by_approval(busy: StoryHarness) -> None:
    digest = busy("plan", "--user", "user_dan", "--output", "json").json["digest"]
    busy.apply("--user", "user_dan")
    busy.store["guards"] = {**AMPLE, "release": {"max": 0}}
    undone(busy, "--plan", digest)
    assert busy.theirs("dan").email == mail("dan")
    assert "GuardExceeded" in busy("undo", "--plan", digest, "--yes").out
    busy.store["guards"] = AMPLE
    undone(busy, "--plan", digest)
    assert [c for c in busy.everybody().values() if c.email == mail("dan")] == []
    busy.apply()
    busy.settles(held={("dan", "Undone")})


def test_undo_twice_does_nothing_the_second_time(busy: StoryHarness) -> None:
    digest = busy("plan", "--output", "json").json["digest"]
    busy.apply()
    undone(busy, "--plan", digest)
    before, mutations = busy.everybody(), busy.mutations
    undone(busy, "--plan", digest)
    assert (busy.everybody(), busy.mutations) == (before, mutations)
    busy.settles(held={(n, "Undone") for n in ("ada", "cyd", "dan", "gil")})


@pytest.mark.parametrize("kind", ["lost_before", "lost_after"])
def test_a_user_is_observed_after_an_answer_lost_on_the_way_back(busy: StoryHarness, kind: Any) -> None:
    before = busy.theirs("ada")
    digest = busy("plan", "--user", "user_ada", "--output", "json").json["digest"]
    busy.apply("--user", "user_ada")
    busy.shop().faults.add(kind, on="customerSet")
    busy("undo", "--plan", digest, "--yes")
    undone(busy, "--plan", digest)
    assert busy.theirs("ada") == before
    busy.apply()
    busy.settles(held={("ada", "Undone")})


def test_nothing_is_undone_without_a_yes(busy: StoryHarness) -> None:
    busy.apply()
    mutations = busy.mutations
    said = busy("undo", "--since", "1h")
    assert said.code == 1
    assert "hint: add --yes" in said.err
    assert busy.mutations == mutations
    assert busy("undo", "--yes").code == 64
    busy.settles()


def test_a_way_back_that_shopify_refuses_is_not_sent_again_until_something_moves(busy: StoryHarness) -> None:
    before = busy.theirs("ada")
    digest = busy("plan", "--user", "user_ada", "--output", "json").json["digest"]
    busy.apply("--user", "user_ada")
    fault = busy.shop().faults.add("user_error", on="customerSet", times=None)
    undone(busy, "--plan", digest, code=1)
    for _ in range(2):
        said = busy("undo", "--plan", digest, "--yes")
        assert said.code == 0, said.err
        assert "This change is not allowed" in said.out
    assert fault.hits == 1
    busy.shop().faults.clear()
    busy.staff("tag", id=before.id, tags=["seen"])
    undone(busy, "--plan", digest)
    assert (busy.theirs("ada").email, busy.theirs("ada").first_name) == (before.email, before.first_name)
