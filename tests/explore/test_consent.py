"""Random worlds of marketing consent: two users, guests, deaths of the process, consents that stay or go with the email.

A model that knows every answer judges each write at the moment in which the shop executes it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.store import Store
from reconciler.simulator.customers.records import SimConsent, SimCustomer, rare
from reconciler.simulator.ledger import gid
from tests.inprocess import Cycle, Rig

USERS: Final = ("user_a", "user_b")
WRITE: Final = ("customerEmailMarketingConsentUpdate",)
KINDS: Final = ("create", "adopt", "update", "relink", "merge", "release", "consent")
ANSWERS: Final = ("yes", "yes", "no", "undated", "stale", "silent")
EVENTS: Final = (
    "answer",
    "answer",
    "answer",
    "shop",
    "shop",
    "email",
    "guest",
    "guest's email",
    "delete",
    "merge",
    "leave",
)


@dataclass(slots=True)
class News:
    """A shop, its users, and what the model knows: the withdrawals that were shown, and the answers in effect."""

    rig: Rig
    dice: random.Random
    withdrawn: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    used: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    seen: list[tuple[str, int]] = field(default_factory=list)
    in_shop: set[int] = field(default_factory=set)
    """When customers answered in Shopify."""
    emails: dict[str, str] = field(default_factory=dict)
    made: int = 0

    # --- what is there ------------------------------------------------------------------------------------------------

    def people(self) -> Iterator[tuple[SimCustomer, str | None, SimConsent | None]]:
        """Each customer, the user that its back-link names, and its consent."""
        for each in list(self.rig.sim("acme").shop.people):
            link = next((m.value for m in each.metafields if m.key == "user_id"), None)
            yield each, link, rare(each).email_consent

    def customer(self, user: str | None) -> str | None:
        found = [gid("Customer", each.number) for each, link, _ in self.people() if link == user]
        return self.dice.choice(found) if found else None

    def said(self, user: str) -> dict[str, Any]:
        row = self.rig.profiles.rows.get(ClerkUserId(user))
        return dict(row.metadata or {}) if row is not None else {}

    # --- the judge ----------------------------------------------------------------------------------------------------

    def judge(self, roots: tuple[str, ...], variables: dict[str, Any]) -> None:
        """Called with each call before the shop sees it."""
        if roots != WRITE:
            return
        given = variables["input"]
        consent, at = given["emailMarketingConsent"], given["customerId"]
        found = [(each, user) for each, user, _ in self.people() if gid("Customer", each.number) == at]
        if not found or found[0][1] not in USERS:
            return
        (customer, user), said = found[0], self.said(str(found[0][1]))
        if consent["marketingState"] == "UNSUBSCRIBED":
            assert said.get("yes") is False, "a withdrawal without a no"
            self.judge_withdrawal(customer, str(user), said.get("at"))
            return
        row, second = self.rig.profiles.rows[ClerkUserId(str(user))], second_of(consent["consentUpdatedAt"])
        assert said.get("yes") is True, "a grant without a yes"
        assert row.email_verified, "a grant for an email that is not verified"
        assert (customer.email or "").casefold() == (row.email or "").casefold(), "a grant for another email"
        assert all(second > each for each in self.withdrawn[str(user)]), "a grant after a later withdrawal"
        if said.get("at") is None:
            assert not self.withdrawn[str(user)], "a grant without a time after a withdrawal"
            return
        assert second == second_of(said["at"]), "a grant with another time"
        assert second not in self.used[str(user)], "the same yes twice"

    def judge_withdrawal(self, customer: SimCustomer, user: str, at: str | None) -> None:
        """What the customer answered in Shopify after the last yes is withdrawn by a later no only."""
        shown = rare(customer).email_consent
        second = int(shown.updated_at) if shown is not None and shown.updated_at is not None else 0
        if second in self.in_shop and second > max(self.used[user], default=0):
            assert at is not None, "a withdrawal without a time after an answer in Shopify"
            assert second_of(at) > second, "a withdrawal after a later answer in Shopify"

    def note(self, roots: tuple[str, ...], variables: dict[str, Any]) -> None:
        """Called with each mutation that the shop has executed."""
        if roots != WRITE:
            return
        given = variables["input"]
        consent = given["emailMarketingConsent"]
        for each, user, _ in self.people():
            if gid("Customer", each.number) == given["customerId"] and user in USERS:
                granted = consent["marketingState"] == "SUBSCRIBED" and self.said(user).get("at") is not None
                self.seen += [(user, second_of(consent["consentUpdatedAt"]))] if granted else []

    def look(self) -> None:
        """Note what the next cycle sees: withdrawals, and answers that find their customer subscribed."""
        for _, user, consent in self.people():
            if user in USERS and consent is not None:
                said, row = self.said(user), self.rig.profiles.rows.get(ClerkUserId(user))
                if consent.state == "UNSUBSCRIBED" and consent.updated_at:
                    self.withdrawn[user].append(int(consent.updated_at))
                if consent.state == "SUBSCRIBED" and said.get("yes") is True and said.get("at") and row is not None:
                    self.seen += [(user, second_of(said["at"]))] if row.email_verified else []

    def cycle(self) -> Cycle:
        self.look()
        found = self.rig.cycle()
        for user, second in self.seen:
            self.used[user].add(second)
        self.seen.clear()
        return found

    def cycle_that_dies(self) -> None:
        with self.rig.dying(self.dice.randint(1, 6), after=self.dice.choice([True, False])):
            self.cycle()

    # --- what happens -------------------------------------------------------------------------------------------------

    def happen(self) -> None:
        self.rig.clock.sleep(self.dice.choice([1, 5, 70, 4000]))
        user, event = self.dice.choice(USERS), self.dice.choice(EVENTS)
        theirs, guest, shop = self.customer(user), self.customer(None), self.rig.sim("acme")
        match event:
            case "answer":
                self.write(user, metadata=self.answer(), email_verified=self.dice.random() < 0.9)
            case "email":
                self.emails[user] = self.new_email()
                self.write(user)
            case "guest's email" if guest is not None:
                emails = [each.email for each, link, _ in self.people() if link is None and each.email]
                self.emails[user] = self.dice.choice(emails or [self.new_email()])
                self.write(user)
            case "guest":
                made = shop.staff("create", email=self.new_email())
                self.shop_answers(made.id, self.dice.choice(["SUBSCRIBED", "UNSUBSCRIBED", "PENDING"]))
            case "shop" if theirs is not None:
                with suppress(ValueError):  # it has no email
                    self.shop_answers(theirs, self.dice.choice(["SUBSCRIBED", "UNSUBSCRIBED"]))
            case "delete" if theirs is not None:
                shop.staff("delete", id=theirs)
            case "merge" if theirs is not None and guest is not None:
                keep, other = self.dice.sample([theirs, guest], 2)
                shop.staff("merge", keep=keep, other=other)
            case "leave" if len(self.rig.profiles.rows) == len(USERS):  # an empty table releases no one
                self.rig.leave(user)
            case _:
                pass

    def write(self, user: str, **values: Any) -> None:
        email = self.emails.setdefault(user, self.new_email())
        self.rig.user(user, **{"email": email, "first_name": user, "metadata": self.said(user), **values})

    def answer(self) -> dict[str, Any]:
        now = int(self.rig.clock())
        match self.dice.choice(ANSWERS):
            case "silent":
                return {}
            case "undated":
                return {"yes": True, "at": None}
            case "stale":
                return {"yes": True, "at": iso(now - self.dice.choice([100, 5000, 20_000]))}
            case "no":
                return {"yes": False, "at": self.dice.choice([None, iso(now)])}
            case _:
                return {"yes": True, "at": iso(now)}

    def shop_answers(self, customer: str, state: str) -> None:
        self.in_shop.add(int(self.rig.clock()))
        level = "CONFIRMED_OPT_IN" if state == "PENDING" else "SINGLE_OPT_IN"
        self.rig.sim("acme").staff("consent", id=customer, channel="email", state=state, level=level)

    def new_email(self) -> str:
        self.made += 1
        return f"e{self.made}@x.example.com"


def iso(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def second_of(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def a_store(dice: random.Random) -> Store:
    level = dice.choice(["single_opt_in", "confirmed_opt_in"])
    rule = {"from": "metadata.yes", "at": "metadata.at", "withdraw": dice.random() < 0.7, "level": level}
    return Store.model_validate(
        {
            "name": "acme",
            "shop": "acme.myshopify.com",
            "consent": {"email": rule},
            "guards": {kind: {"max": 1000} for kind in KINDS},
            "on_email_conflict": dice.choice(["relink", "merge", "hold"]),
            "on_leave": dice.choice(["keep", "tag", "delete"]),
        }
    )


@pytest.mark.explore
@pytest.mark.parametrize("seed", range(200))
def test_no_one_is_subscribed_without_an_answer_that_is_the_last_one(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with Rig(tmp_path, a_store(dice)) as rig:
        rig.sim("acme").shop.change_habits(merge_s=0.0, consent_stays_with_customer=dice.choice([True, False]))
        news = News(rig, dice)
        rig.transport.coming, rig.transport.seen = news.judge, news.note
        for user in USERS:
            news.write(user)
        for _ in range(dice.randint(15, 45)):
            dice.choice([news.happen, news.happen, news.happen, news.cycle, news.cycle_that_dies])()
        for _ in range(3):
            rig.clock.sleep(5)
            last = news.cycle()
        assert last.mutations == 0, "it settles"
