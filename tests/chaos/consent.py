"""Marketing consent: what users answer in the app, what customers answer in Shopify, and what may follow from both.

Written from rule 8 of docs/rules.md, the page on marketing consent and the interfaces. Plain values; nothing of the product.
Times are whole seconds, as Shopify keeps them.

Marketing by email and by text messages are checked apart, by the same rule. Two things are checked. Each consent that the
product writes has to be an answer that the user gave in the app, newer than what the customer answered in that shop
(`_writes`). In the end the last answer counts (`_expected`).

Left out of the second, by rule: answers in the app that are not in the order of their times (the product may have
seen all of them, or the last one only); users with another email or customer since their answer; what follows
from an answer without a time, or from a yes, after later answers of a former user of the customer or of the email; from an
answer without a time after others; and answers that were taken away, for which only the first holds.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from reconciler.simulator.customers.records import SimCustomer, rare
from tests.chaos.checker import Customer, Violation
from tests.chaos.people import EU, US, Answer, Population, User

YES, NO, WAITS, NEVER = "SUBSCRIBED", "UNSUBSCRIBED", "PENDING", "NOT_SUBSCRIBED"
LATE_S = 7200.0  # an answer that the app stores later than it was given
KIND = "consent"
Channel = Literal["email", "sms"]
CHANNELS: Final[tuple[Channel, ...]] = ("email", "sms")
KEYS: Final[Mapping[Channel, str]] = {"email": "news", "sms": "texts"}
"""Where the app keeps the answer; its time is beside it, with `_at`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What stores.yaml says of one shop."""

    level: str
    withdraws: bool


RULES: Final[Mapping[str, Rule]] = {
    US: Rule("single_opt_in", withdraws=True),
    EU: Rule("confirmed_opt_in", withdraws=False),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """The consent of one customer from a moment on. `address`: the email or the phone that it is of.

    `by_shop`: the customer or staff gave it, in Shopify.
    """

    owner: str | None
    address: str | None
    state: str
    at: int | None = None
    level: str | None = None
    by_shop: bool = False


@dataclass(slots=True)
class Consents:
    """The consent of each customer over time, by shop and number of the customer."""

    channel: Channel = "email"
    lives: dict[tuple[str, int], list[Shown]] = field(default_factory=dict)

    def look(self, shop: str, people: Iterable[SimCustomer], owner: Any, *, by_shop: bool = False) -> None:
        """Note what has changed. `owner`: the user of a customer."""
        for record in people:
            is_sms = self.channel == "sms"
            consent = rare(record).sms_consent if is_sms else rare(record).email_consent
            steps = self.lives.setdefault((shop, record.number), [])
            at = int(consent.updated_at) if consent is not None and consent.updated_at is not None else None
            state, level = (consent.state, consent.level) if consent is not None else (NEVER, None)
            if not steps or (steps[-1].state, steps[-1].at) != (state, at):
                address = record.phone if is_sms else record.email
                steps.append(Shown(owner(record), address, state, at, level, by_shop))

    def answers(self, user: User) -> list[Answer | None]:
        """Those of this user in the app."""
        return user.texts if self.channel == "sms" else user.answers

    def addresses(self, user: User) -> set[str]:
        """All that this user ever had."""
        return {phone for phone in user.phones if phone} if self.channel == "sms" else {e.lower() for e in user.emails}

    def is_theirs(self, user: User, customer: Customer) -> bool:
        """Whether the customer has the address of the profile."""
        return self.channel == "email" or (user.phone is not None and customer.phone == user.phone)


def metadata_of(user: User) -> dict[str, Any]:
    """What the profile says of the last answers; null where one was taken away."""
    found: dict[str, Any] = {}
    for key, answers in ((KEYS["email"], user.answers), (KEYS["sms"], user.texts)):
        if answers:
            last = answers[-1]
            at = datetime.fromtimestamp(last.at, UTC).isoformat() if last is not None and last.at is not None else None
            found |= {key: last.granted if last is not None else None, f"{key}_at": at}
    return found


def settings_of(shop: str) -> str:
    """The key `consent` of a store."""
    rule = RULES[shop]
    options = f"level: {rule.level}, withdraw: {str(rule.withdraws).lower()}"
    each = (f"{name}: {{from: metadata.{key}, at: metadata.{key}_at, {options}}}" for name, key in KEYS.items())
    return f"consent: {{{', '.join(each)}}}"


def answer_in_app(chance: random.Random, now_s: float, before: list[Answer | None]) -> Answer | None:
    """What a user says now: yes or no, often with its time, which may be a while ago; None: the answer is taken away."""
    if before and before[-1] is not None and chance.random() < 0.3:
        return None
    kind = chance.random()
    at = now_s - LATE_S * chance.random() if kind < 0.15 else None if kind < 0.3 else now_s
    return Answer(chance.random() < 0.65, at)


def answer_in_shop(chance: random.Random, shop: str, channel: Channel) -> dict[str, Any]:
    """What a customer answers in Shopify: most unsubscribe. A record of old has no time."""
    state = chance.choice((NO, NO, NO, YES, YES, WAITS))
    at = "" if state == NO and chance.random() < 0.1 else None
    return {"channel": channel, "state": state, "level": RULES[shop].level.upper(), "at": at}


# --- the verdict ------------------------------------------------------------------------------------------------------


def consent_violations(population: Population, consents: Consents) -> list[Violation]:
    """Each write that no answer of the user allows."""
    found: list[Violation] = []
    granted: dict[tuple[str, str, int], int] = {}
    for (shop, number), steps in list(consents.lives.items()):  # others may look meanwhile
        who = f"{number} in {shop}"
        before = Shown(None, None, NEVER)
        for place, step in enumerate(steps):
            if not step.by_shop and (step.state, step.at) != (before.state, before.at):
                user = population.users.get(step.owner or "")
                name = f"{user.id} in {shop}" if user is not None else who
                wrong = _writes(consents, user, shop, step, before, steps[:place])
                found += [Violation(KIND, name, f"{number}: {what}") for what in wrong]
                if user is not None and step.state == YES and _is_timed(consents.answers(user), step):
                    key = (user.id, shop, step.at or 0)
                    if granted.setdefault(key, number) != number or _was(steps[:place], YES, step.at):
                        found.append(Violation(KIND, name, f"{number}: the yes of {step.at} is written twice"))
            before = step
    return found


def _is_timed(answers: Iterable[Answer | None], step: Shown) -> bool:
    return any(a is not None and a.granted and a.second == step.at for a in answers)


def _was(steps: Iterable[Shown], state: str, at: int | None) -> bool:
    return any((each.state, each.at) == (state, at) for each in steps)


def _writes(
    consents: Consents, user: User | None, shop: str, step: Shown, before: Shown, earlier: list[Shown]
) -> Iterator[str]:
    """What is wrong with this write."""
    said = f"{step.state} of {step.at} after {before.state} of {before.at}"
    if user is None:
        yield f"{said}, of no user"
        return
    if step.state not in {YES, NO}:
        yield f"{said}, which no one asked for"
        return
    if (step.address or "").lower() not in consents.addresses(user):
        yield f"{said}, of {step.address}, which is not the user's"
    answers = [a for a in consents.answers(user) if a is not None and a.granted is (step.state == YES)]
    timed = any(a.second == step.at for a in answers)
    own = step.state == NO and not before.by_shop  # a later no ends our own grant, whatever time the app gives it
    undated = any(a.second is None or (own and a.second <= (before.at or 0)) for a in answers)
    if step.at is None or not (timed or undated):
        yield f"{said}, which is no answer of the user"
        return
    if before.at is not None and before.at >= step.at:
        yield f"{said}, which is not newer"
    if step.state == YES:
        if before.state == NO and before.at is None:
            yield f"{said}, without a known time"
        if before.state == WAITS and RULES[shop].level == "single_opt_in":
            yield f"{said}, which waits for the customer"
        if any(each.state == NO and each.at is not None and each.at >= step.at for each in earlier):
            yield f"{said}, although the customer unsubscribed at that time or later"
        if not timed and any(each.by_shop for each in earlier):
            yield f"{said}, by a yes without a time after an answer in Shopify"
        return
    if not RULES[shop].withdraws:
        yield f"{said}, and withdrawals are off"
    if before.state not in {YES, WAITS}:
        yield f"{said}, who was not subscribed"
    if not timed and before.by_shop:
        yield f"{said}, by a no without a time against an answer in Shopify"


def consent_differences(
    population: Population, consents: Consents, customers: Mapping[str, Iterable[Customer]]
) -> list[Violation]:
    """Each user's customer with another consent than the last answer."""
    found = []
    for shop, some in customers.items():
        answered = _answered_by_email(population, consents, shop)
        owned: dict[str, list[Customer]] = {}
        for customer in some:
            owned.setdefault(customer.owner or "", []).append(customer)
        for user in population.users.values():
            own = owned.get(user.id, [])
            if not user.wanted(shop) or len(own) != 1 or not consents.is_theirs(user, own[0]):
                continue
            steps = consents.lives.get((shop, int(own[0].id.rpartition("/")[2])))
            if steps is None:
                continue  # made a moment ago
            answers = consents.answers(user)
            former = _of_former_users(user, [*steps, *answered.get(user.email.lower(), ())])
            right, shown = _expected(user, answers, shop, steps, former, consents.channel), steps[-1]
            if right and shown.state not in right:
                what = f"{shown.state} of {shown.at} instead of {' or '.join(sorted(right))}: {answers[-1]}"
                found.append(Violation(KIND, f"{user.id} in {shop}", what))
    return found


def _answered_by_email(population: Population, consents: Consents, shop: str) -> dict[str, list[Shown]]:
    """The consents of all customers of this shop, also of those that were deleted, by each email of their users."""
    found: dict[str, list[Shown]] = {}
    for (of, _), steps in consents.lives.items():
        for step in steps if of == shop else ():
            owner = population.users.get(step.owner or "")
            for email in {each.lower() for each in owner.emails} if owner is not None else ():
                found.setdefault(email, []).append(step)
    return found


def _expected(
    user: User, answers: list[Answer | None], shop: str, steps: list[Shown], former: list[Shown], channel: Channel
) -> set[str]:
    """The states of which the customer's consent has to be one in the end; none: any."""
    last = answers[-1] if answers else None
    if last is None:
        return set()
    in_shop = next((step for step in reversed(steps) if step.by_shop), None)
    moments = [moment for span in user.away[shop] for moment in span if moment is not None]
    moved_at = max([user.moved_at, user.phone_at if channel == "sms" else 0.0, *moments], default=0.0)
    earlier = [answer for answer in answers[:-1] if answer is not None]
    if last.second is None:
        if earlier or moved_at or former:
            return set()
        if in_shop is not None:
            return {in_shop.state}
        return {YES} if last.granted else {NEVER}
    if last.second <= moved_at + 1 or any(a.second is None or a.second >= last.second for a in earlier):
        return set()
    if last.granted and any(step.at is None or step.at >= last.second for step in former):
        return set()
    if in_shop is not None and (in_shop.at is None or in_shop.at >= last.second):
        return {in_shop.state} if last.granted or RULES[shop].withdraws else set()
    if last.granted:
        waits = in_shop is not None and in_shop.state == WAITS and steps[-1] is in_shop and RULES[shop].withdraws
        return {WAITS} if waits else {YES}
    return {NO, NEVER} if RULES[shop].withdraws else set()


def _of_former_users(user: User, steps: Iterable[Shown]) -> list[Shown]:
    """The consents of other users among these."""
    return [step for step in steps if step.owner not in {None, user.id} and step.state != NEVER]
