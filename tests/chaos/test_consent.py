"""The checker of consents sees what it is there to see: each row is one customer's history, and what is wrong with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.checker import Customer
from tests.chaos.consent import NEVER, NO, WAITS, YES, Consents, Shown, consent_differences, consent_violations
from tests.chaos.people import EU, US, Answer, Population, User

MAIL = "a@example.com"
START = Shown("user_a", MAIL, NEVER)
SAID_YES, SAID_NO = Answer(granted=True, at=100.7), Answer(granted=False, at=200.2)
LATER_YES, TIMELESS_YES, TIMELESS_NO = Answer(True, 300.0), Answer(True, None), Answer(False, None)  # noqa: FBT003


def ours(state: str, at: int | None, level: str | None = None) -> Shown:
    return Shown("user_a", MAIL, state, at, level)


def theirs(state: str, at: int | None) -> Shown:
    return Shown("user_a", MAIL, state, at, by_shop=True)


def formers(state: str, at: int | None) -> Shown:
    return Shown("user_z", MAIL, state, at)


def found(shop: str, answers: list[Answer | None], steps: list[Shown], *, moved_at: float = 0.0) -> tuple[int, int]:
    """How many writes are wrong, and whether the end is."""
    user = User("user_a", "app", MAIL, "Ada", "Byron", answers=answers, shops={shop}, moved_at=moved_at)
    population, consents = Population(users={user.id: user}), Consents(lives={(shop, 1): [START, *steps]})
    customer = Customer(shop, "gid://shopify/Customer/1", MAIL, "Ada", "Byron", None, None, (), 0, user.id, None)
    return (
        len(consent_violations(population, consents)),
        len(consent_differences(population, consents, {shop: [customer]})),
    )


@pytest.mark.parametrize(
    ("shop", "answers", "steps", "wrong"),
    [
        # a yes of the app
        (US, [SAID_YES], [ours(YES, 100)], (0, 0)),
        (US, [SAID_YES], [], (0, 1)),
        (US, [SAID_YES], [ours(YES, 150)], (1, 0)),
        (US, [], [ours(YES, 100)], (1, 0)),
        (US, [SAID_NO], [ours(YES, 200)], (1, 1)),
        # the customer answers in Shopify: earlier, in the same second, later
        (US, [SAID_YES], [theirs(NO, 99), ours(YES, 100)], (0, 0)),
        (US, [SAID_YES], [theirs(NO, 99)], (0, 1)),
        (US, [SAID_YES], [theirs(NO, 100)], (0, 0)),
        (US, [SAID_YES], [theirs(NO, 100), ours(YES, 100)], (2, 1)),
        (US, [SAID_YES], [ours(YES, 100), theirs(NO, 500)], (0, 0)),
        (US, [SAID_YES], [ours(YES, 100), theirs(NO, 500), ours(YES, 501)], (1, 1)),
        (US, [SAID_YES], [theirs(NO, None)], (0, 0)),
        (US, [SAID_YES], [theirs(NO, None), ours(YES, 100)], (1, 1)),
        # the customer is to confirm
        (US, [SAID_YES], [theirs(WAITS, 50)], (0, 0)),
        (US, [SAID_YES], [theirs(WAITS, 50), ours(YES, 100)], (1, 0)),
        (EU, [SAID_YES], [theirs(WAITS, 50), ours(YES, 100)], (0, 0)),
        (EU, [SAID_YES], [theirs(WAITS, 50)], (0, 1)),
        # a no of the app
        (US, [SAID_YES, SAID_NO], [ours(YES, 100), ours(NO, 200)], (0, 0)),
        (US, [SAID_YES, SAID_NO], [ours(YES, 100)], (0, 1)),
        (EU, [SAID_YES, SAID_NO], [ours(YES, 100)], (0, 0)),
        (EU, [SAID_YES, SAID_NO], [ours(YES, 100), ours(NO, 200)], (1, 0)),
        (US, [SAID_NO], [theirs(YES, 201)], (0, 0)),
        (US, [SAID_NO], [theirs(YES, 201), ours(NO, 200)], (1, 1)),
        (US, [SAID_NO], [ours(NO, 200)], (1, 0)),
        (US, [SAID_YES, SAID_NO, LATER_YES], [ours(YES, 100), ours(NO, 200), ours(YES, 300)], (0, 0)),
        (US, [SAID_YES, SAID_NO, LATER_YES], [ours(YES, 100), ours(NO, 200)], (0, 1)),
        # a no that the app dates before the yes ends our own grant, and not the customer's
        (US, [LATER_YES, SAID_NO], [ours(YES, 300), ours(NO, 340)], (0, 0)),
        (US, [LATER_YES, SAID_NO], [theirs(YES, 300), ours(NO, 340)], (1, 0)),
        # the customer was that of a former user, with a consent: a grant of no user that is known here
        (US, [TIMELESS_NO], [formers(YES, 50)], (1, 0)),
        (US, [SAID_NO], [formers(YES, 50), ours(NO, 200)], (1, 0)),
        (US, [SAID_NO], [formers(YES, 50)], (1, 1)),
        (US, [SAID_YES], [formers(NO, 150)], (1, 0)),
        (US, [SAID_YES], [formers(NO, 50)], (1, 1)),
        # the answer is taken away
        (US, [SAID_YES, None], [ours(YES, 100)], (0, 0)),
        (US, [SAID_YES, None], [ours(YES, 100), ours(NO, 160)], (1, 0)),
        # answers without a time
        (US, [TIMELESS_YES], [ours(YES, 40)], (0, 0)),
        (US, [TIMELESS_YES], [], (0, 1)),
        (US, [TIMELESS_YES], [theirs(NO, 30), ours(YES, 40)], (1, 1)),
        (US, [SAID_YES, TIMELESS_NO], [ours(YES, 100), ours(NO, 140)], (0, 0)),
        (US, [TIMELESS_NO], [theirs(YES, 100), ours(NO, 140)], (1, 1)),
        # each yes is written once
        (US, [SAID_YES], [ours(YES, 100), theirs(NEVER, None), ours(YES, 100)], (1, 1)),
    ],
)
def test_each_write_is_an_answer_of_the_user_and_the_last_answer_counts(
    shop: str, answers: list[Answer | None], steps: list[Shown], wrong: tuple[int, int]
) -> None:
    assert found(shop, answers, steps) == wrong


def test_a_yes_from_before_the_email_became_another_one_proves_nothing() -> None:
    assert found(US, [SAID_YES], [], moved_at=150.0) == (0, 0)
    assert found(US, [SAID_YES], [], moved_at=50.0) == (0, 1)


def test_a_customer_of_no_user_and_one_with_another_email_stay_as_they_are() -> None:
    user = User("user_a", "app", MAIL, "Ada", "Byron", answers=[SAID_YES])
    for owner, email in ((None, MAIL), ("user_a", "b@example.com")):
        consents = Consents(lives={(US, 1): [Shown(owner, email, NEVER), Shown(owner, email, YES, 100)]})
        assert len(consent_violations(Population(users={user.id: user}), consents)) == 1


def test_a_yes_is_written_to_one_customer_of_a_user_only() -> None:
    user = User("user_a", "app", MAIL, "Ada", "Byron", answers=[SAID_YES])
    consents = Consents(lives={(US, 1): [START, ours(YES, 100)], (US, 2): [START, ours(YES, 100)]})
    assert len(consent_violations(Population(users={user.id: user}), consents)) == 1


def test_text_messages_are_judged_by_the_phone_and_by_their_own_answers() -> None:
    user = User("user_a", "app", MAIL, "Ada", "Byron", "+12122000001", answers=[Answer(granted=True, at=100)])
    user.note_phone(0.0)
    population, steps = Population(users={user.id: user}), [START, ours(YES, 100)]
    for texts, phone, found in (([], user.phone, 1), ([Answer(granted=True, at=100)], user.phone, 0)):
        user.texts = list(texts)
        written = [replace(step, address=phone) for step in steps]
        assert len(consent_violations(population, Consents("sms", {(US, 1): written}))) == found
    other = [replace(step, address="+12122000009") for step in steps]
    assert len(consent_violations(population, Consents("sms", {(US, 1): other}))) == 1
