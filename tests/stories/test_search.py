"""A person is found by id, email, name, phone or customer: in commands, whatever the stores want."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time
from sqlalchemy import Engine, event

from tests.cli.harness import EU, US
from tests.stories.harness import StoryHarness, mail


@pytest.fixture
def people(story: StoryHarness) -> StoryHarness:
    """Grace and a firm are in the shop, Øystein is held without a customer, and no store wants Bob."""
    story.store["country"] = "US"
    story.store["where"] = {"locale": "en-US"}
    story.user("grace", first_name="Grace", last_name="Hopper", phone="(415) 555-0100", locale="en-US")
    story.user(
        "oy", first_name="Øystein", email="oy@x.example", email_verified=0, phone="+47 90 00 00 01", locale="en-US"
    )
    story.user("firm", first_name="Studio 54", last_name="3M", locale="en-US")
    story.user("bob", first_name="Bob", last_name="Martin", phone="415.555.0199", locale="da-DK")
    story.apply()
    return story


def found(story: StoryHarness, word: str) -> str:
    said = story("explain", word, "--output", "json")
    assert said.code == 0, said.err
    return str(said.json["clerk_user_id"]).removeprefix("user_")


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("Grace Hopper", "grace"),
        ("hopper", "grace"),
        ("GRA", "grace"),
        ("+1 (415) 555-0100", "grace"),
        ("415-555-0100", "grace"),
        ("0014155550100", "grace"),
        (mail("grace").upper(), "grace"),
        ("øystein", "oy"),
        ("OY@X.example", "oy"),
        ("+4790000001", "oy"),
        ("bob martin", "bob"),
        ("415 555 0199", "bob"),
        ("studio 54", "firm"),
        ("3m", "firm"),
        ("user_bob", "bob"),
    ],
)
def test_a_person_is_found_by(people: StoryHarness, word: str, name: str) -> None:
    assert found(people, word) == name
    people.settles(held={("oy", "EmailUnverified")})


def test_who_is_held_without_a_customer_is_found_without_the_profiles(people: StoryHarness) -> None:
    people.gone("oy")
    for word in ("Øystein", "oy@x.example", "+47 90 00 00 01"):
        assert found(people, word) == "oy"
    assert people("mappings", "forget", "user_oy", "--yes").code == 0
    for word in ("Øystein", "oy@x.example", "+47 90 00 00 01"):
        assert people("explain", word).code == 1
    people.settles()


def test_a_name_of_two_people_lists_both_and_an_exact_one_goes_before_a_part(people: StoryHarness) -> None:
    people.second_shop()
    people.user("graceland", first_name="Grace", last_name="Hopperland", locale="en-US")
    assert found(people, "grace hopper") == "grace"
    for command in ("explain", "nudge", "plan --user", "apply --yes --user"):
        said = people(*command.split(), "grace")
        words = " ".join(said.err.split())
        assert said.code == 1
        assert f"user_grace (Grace Hopper, {mail('grace')}) error: user_graceland (Grace Hopperland, " in words
        assert "hint: use one of these Clerk ids" in words
    assert people("nudge", "grace hopper").code == 0
    assert people.plan("--user", "hopperland")["summary"]["create"] == 1


def test_unknown_words_and_those_of_several_users_are_reported_together(people: StoryHarness) -> None:
    people.user("graceland", first_name="Grace", last_name="Hopperland", locale="en-US")
    unknown = [f"user_{n}" for n in range(22)]
    said = people("nudge", *unknown, "user_grace", "grace", "hopper")
    assert said.code == 1
    words = " ".join(said.err.split())
    assert "unknown: user_0, user_1, " in words
    assert "user_19 and 2 more: no profile and no mapping" in words
    for word in ("grace", "hopper"):
        assert f"'{word}' matches several users: error: user_grace (Grace Hopper, " in words
    assert "user_20" not in words
    assert "shows the mapped users; use one of these Clerk ids" in words
    people.apply()
    people.settles(held={("oy", "EmailUnverified")})


def test_many_users_are_found_by_as_many_statements_as_a_few(story: StoryHarness) -> None:
    """By their ids, in the state or only in the profiles, by emails and by customers."""
    story.store["where"] = {"locale": "en-US"}
    for n in range(10):
        story.user(f"{n}", first_name="Ada", locale="en-US" if n % 4 else "da-DK")
    story.apply()

    def statements(numbers: range, word: str, *option: str) -> int:
        words = [mail(f"{n}") if n % 3 == 1 else f"user_{n}" for n in numbers]
        words += [story.theirs(f"{n}").id for n in numbers if n % 4 == 3]
        asked: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            asked.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            said = story(word, *(each for name in words for each in (*option, name)))
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        assert said.code == 0, said.err
        return len(asked)

    for command in (("nudge",), ("plan", "--user")):
        assert statements(range(10), *command) == statements(range(4), *command)
    story.settles()


def test_a_phone_without_a_country_code_is_read_by_the_countries_of_the_stores(people: StoryHarness) -> None:
    people.stores[EU] = people.a_store(EU) | {"country": "NO"}
    assert found(people, "90 00 00 01") == "oy"


@pytest.mark.parametrize("word", ["Jane Nowhere", "x", "%", "+1 212 555 0123", "7001", "jane@example.com", "user_gra"])
def test_an_unknown_person_is_an_error_with_a_hint(people: StoryHarness, word: str) -> None:
    said = people("explain", word)
    assert said.code == 1
    assert f"unknown: {word}" in " ".join(said.err.split())
    assert "hint: check the spelling" in said.err


def test_the_answer_says_since_when_a_user_is_held(story: StoryHarness) -> None:
    story.user("grace", last_name="Hopper", email_verified=0)
    with freeze_time(datetime(2026, 11, 23, 9, tzinfo=UTC), ignore=["reconciler.simulator"]) as clock:
        story.apply()
        clock.tick(timedelta(hours=2))
        story.apply()
        clock.tick(timedelta(hours=1))
        (store,) = story("explain", "user_grace", "--output", "json").json["stores"]
    assert store["answer"] == (
        f"Grace Hopper is not in {US} because the email is not verified (for 3 h). "
        "The user verifies it in Clerk, or set trust_email: always."
    )
    story.settles(held={("grace", "EmailUnverified")})


def test_a_former_email_and_a_customer_that_was_merged_away_lead_to_the_user(people: StoryHarness) -> None:
    old, now, lost = mail("grace"), "hopper@x.example", people.theirs("grace").id
    people.user("grace", email=now)
    people.apply()
    kept = people.staff("create", first_name="Grace")["id"]
    people.staff("merge", keep=kept, other=lost)
    people.apply()
    assert people.theirs("grace").id == kept
    number = lost.rpartition("/")[2]
    for word, was in ((old, f"{old} was the email"), (number, f"Customer {number} was the customer")):
        said = people("explain", word, "--output", "json").json
        assert said["clerk_user_id"] == "user_grace"
        (former,) = said["former"]
        assert former["answer"].startswith(f"{was} of user_grace in {US} (last written 20")
        assert former["now"] == (now if word == old else kept)
        assert former["answer"] in " ".join(people("explain", word).out.split())
        refused = people("nudge", word)
        assert refused.code == 1, "only what reads takes a former value"
        assert f"hint: {former['answer']} Use the Clerk id" in " ".join(refused.err.split())
    assert "former" not in people("explain", now, "--output", "json").json
    people.settles(held={("oy", "EmailUnverified")})
    assert people("mappings", "forget", "user_grace", "--yes").code == 0
    assert people("explain", old).code == people("explain", number).code == 1
