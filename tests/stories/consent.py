"""Marketing consent in stories: what users answer in the app, and what customers have in the shop."""

from __future__ import annotations

import json
from typing import Any, Final

from reconciler.simulator.ledger import gid
from tests.cli.harness import US
from tests.stories.harness import StoryHarness, mail

OLD, MID, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"
YES, NO, NEVER, WAITS = "SUBSCRIBED", "UNSUBSCRIBED", "NOT_SUBSCRIBED", "PENDING"
RULE: dict[str, Any] = {"from": "metadata.news.yes", "at": "metadata.news.at", "withdraw": True}
PHONE: Final = "+442079460{:03d}"
WRITE: Final = "customerEmailMarketingConsentUpdate"


def consents(story: StoryHarness, channel: str = "email", shop: str = US) -> dict[str, tuple[str, str | None]]:
    """The consent of each customer by the name of the user: state and time."""
    sim = story.shop(shop)
    member = {"email": "emailMarketingConsent", "sms": "smsMarketingConsent"}[channel]
    with sim.lock:
        views = [sim.shop.customer(gid("Customer", each.number)) for each in sim.shop.people]
        found = {v.record.email.partition("@")[0]: v.fields[member](v) for v in views if v and v.record.email}
    return {name: (shown["marketingState"], shown["consentUpdatedAt"]) for name, shown in found.items() if shown}


def answers(story: StoryHarness, name: str, yes: Any, at: str | None, **more: Any) -> None:
    story.user(name, metadata=json.dumps({"news": {"yes": yes, "at": at}}), **more)


def guest(story: StoryHarness, name: str, state: str, at: str | None, phone: str | None = None) -> str:
    """A customer without a user, with these consents."""
    made = story.staff("create", email=mail(name), phone=phone)
    if state != NEVER:
        for channel in ("email", "sms") if phone is not None else ("email",):
            story.staff("consent", id=made.id, channel=channel, state=state, level="SINGLE_OPT_IN", at=at)
    return str(made.id)


def leaves(story: StoryHarness, name: str, at: str | None = None) -> None:
    """The customer unsubscribes from emails in Shopify; without a time, now."""
    story.staff("consent", id=story.theirs(name).id, channel="email", state=NO, level="SINGLE_OPT_IN", at=at)
