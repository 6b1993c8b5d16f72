"""Marketing consent while the email or the phone changes: Shopify may keep the consent with the customer, or drop it.

Which of both it does is not documented. Either way a yes is written once, and who has unsubscribed stays so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.stories.consent import MID, NEVER, NEW, NO, PHONE, YES, answers, consents, leaves
from tests.stories.harness import StoryHarness, locked_at, mail

NEWEST = "2026-04-01T00:00:00Z"


@pytest.fixture(params=[False, True], ids=["dropped", "kept"])
def moving(request: pytest.FixtureRequest, news: StoryHarness) -> Iterator[tuple[StoryHarness, bool]]:
    """Stores with consents that stay with the customer, and that are dropped with the address."""
    news.store["fields"] = {"phone": "enforce"}
    news.store["guards"]["consent"] = {"max": 50}
    news.shop().shop.change_habits(consent_stays_with_customer=request.param)
    yield news, request.param
    news.shop().shop.change_habits(consent_stays_with_customer=True)


CASES: dict[str, tuple[tuple[str, str | None], Any, str | None, tuple[str, str | None], tuple[str, str | None]]] = {
    # who: shown at the old address; the profile's answer with the new address, its time; the end where it is kept, dropped
    "loyal": ((YES, MID), True, MID, (YES, MID), (NEVER, None)),
    "renewed": ((YES, MID), True, NEW, (YES, MID), (NEVER, None)),  # this yes was in effect for the old address
    "leaver": ((YES, MID), False, NEW, (NO, NEW), (NO, NEW)),
    "silent": ((YES, MID), None, None, (YES, MID), (NEVER, None)),
    "gone": ((NO, NEW), True, MID, (NO, NEW), (NEVER, None)),
    "back": ((NO, NEW), True, NEWEST, (YES, NEWEST), (YES, NEWEST)),
    "newcomer": ((NEVER, None), True, NEW, (YES, NEW), (YES, NEW)),
}


def test_each_answer_survives_a_new_address(moving: tuple[StoryHarness, bool]) -> None:
    news, is_kept = moving
    for number, (name, ((state, _), *_)) in enumerate(CASES.items()):
        answers(news, name, yes=None if state == NEVER else True, at=MID, phone=PHONE.format(100 + number))
    news.apply()
    for name, ((state, at), *_) in CASES.items():
        for channel in ("email", "sms") if state == NO else ():
            news.staff("consent", id=news.theirs(name).id, channel=channel, state=state, level="SINGLE_OPT_IN", at=at)
    for number, (name, (_, yes, at, *_)) in enumerate(CASES.items()):
        answers(news, name, yes=yes, at=at, email=mail(f"{name}2"), phone=PHONE.format(200 + number))
    news.apply()
    for channel in ("email", "sms"):
        found = consents(news, channel)
        assert found == {f"{name}2": case[3 if is_kept else 4] for name, case in CASES.items()}, channel
    news.settles()


def test_a_run_that_dies_with_the_change_of_an_email_forgets_no_answer(moving: tuple[StoryHarness, bool]) -> None:
    news, is_kept = moving
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at=MID)
    news.apply()
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at="2026-02-15T00:00:00Z", email=mail(f"{name}2"))
    leaves(news, "ada", NEW)
    with locked_at(news, 2, "lost_after"):
        news.apply(code=1)
    news.apply()
    kept = {"ada2": (NO, NEW), "bob2": (YES, MID)}
    assert consents(news) == (kept if is_kept else dict.fromkeys(kept, (NEVER, None)))
    news.settles()
