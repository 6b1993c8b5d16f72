"""Marketing consent (docs/rules.md, rule 8): from what the profile says, what the shop shows and what was written last, to
a grant, a withdrawal, or nothing with the reason. Pure.

The last answer counts. An answer without a time is older than any other one, and what is unknown changes nothing. To a
customer who has never answered, each yes is the last one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal

from reconciler.core.decide.case import Case
from reconciler.core.decide.cost import points_of
from reconciler.core.fields import normalise
from reconciler.core.fields.consent import LastConsent, last_consent, used_of, with_former
from reconciler.core.fields.diff import as_sent
from reconciler.core.fields.people import phone_of
from reconciler.core.model.action import Action, Change, Hold
from reconciler.core.model.consent import (
    ADDRESSES,
    CLOCKS_APART,
    FIXED,
    LEVELS,
    NEVER,
    PENDING,
    SUBSCRIBED,
    UNSUBSCRIBED,
    Channel,
    Consent,
    ConsentRule,
    Judged,
    Outcome,
    Said,
    channel_of,
    field_of,
    is_consent,
)
from reconciler.core.model.customer import Customer
from reconciler.core.model.mapping import Applied
from reconciler.core.model.reasons import hold
from reconciler.core.model.values import text_of
from reconciler.core.model.view import Decision

NO_FIELDS: Mapping[str, Applied] = {}
NO_RECORD = Consent(state="NOT_SUBSCRIBED")  # of an address that the customer does not have yet
Verdict = tuple[Outcome, str, datetime | None]
Direction = Literal["consent", "withdrawal"]
"""A grant or a withdrawal, by the name of its guard."""
DIRECTIONS: Final[tuple[Direction, ...]] = ("consent", "withdrawal")


def judge(said: Said, shown: Consent, last: LastConsent | None, rule: ConsentRule, now: datetime) -> Verdict:
    """What follows, why, and the time that is written with it (None: the one of `with_times`).

    Shopify's times, and so all times here, have whole seconds. A time within the next minute is left to Shopify's clock.
    """
    if said.granted is None:
        return _nothing("the profile says neither yes nor no")
    if shown.state in FIXED:
        return _nothing(f"Shopify shows {shown.state}, which it alone sets")
    if shown.state not in {SUBSCRIBED, UNSUBSCRIBED, PENDING, *NEVER}:
        return _nothing(f"Shopify shows {shown.state}, which this version does not know")
    outcome, why, at = _on_yes(said, shown, last, rule) if said.granted else _on_no(said, shown, last, rule)
    if outcome != "nothing" and at is not None and at > now + CLOCKS_APART:
        return "unclear", f"the time in the profile, {_day(at)}, is in the future", None
    return outcome, why, at


def _on_yes(said: Said, shown: Consent, last: LastConsent | None, rule: ConsentRule) -> Verdict:
    at = said.at
    if shown.state == SUBSCRIBED:
        return _nothing("the customer is subscribed")
    if shown.state in NEVER and last is None:
        return "grant", "the customer has never answered", at
    return _on_later_yes(at, shown, last, rule)


def _on_later_yes(at: datetime | None, shown: Consent, last: LastConsent | None, rule: ConsentRule) -> Verdict:
    if at is None:
        return _nothing("the yes has no time, and there was an answer before")
    if shown.state == UNSUBSCRIBED and shown.at is None:
        return _nothing("the customer is unsubscribed, and Shopify shows no time of it")
    if not _is_newer(at, shown.at):
        return _nothing(f"the answer in Shopify of {_day(shown.at)} is newer")
    if last is not None and last.consent.state == UNSUBSCRIBED:
        left_at = last.consent.at or (shown.at if shown.state == UNSUBSCRIBED else None)
        if left_at is None:
            return _nothing("the user was unsubscribed before, and the time of it is not known")
        if not _is_newer(at, left_at):
            return _nothing(f"the user was unsubscribed before, not earlier than {_day(left_at)}")
    if last is not None and last.consent.state == SUBSCRIBED and not _is_newer(at, last.consent.at):
        return _nothing("this yes was in effect before, and it was changed in Shopify since")
    if shown.state == PENDING and rule.level != "confirmed_opt_in":
        return _nothing("Shopify waits for the customer's confirmation")
    return "grant", f"the yes in the profile of {_day(at)} is the newest answer", at


def _on_no(said: Said, shown: Consent, last: LastConsent | None, rule: ConsentRule) -> Verdict:
    if shown.state not in {SUBSCRIBED, PENDING}:
        return _nothing("the customer is not subscribed")
    if not rule.withdraw:
        return _nothing("`withdraw` is off: a no in the profile changes nothing")
    ours = last.consent if last is not None and last.ours and last.consent.state == SUBSCRIBED else None
    if ours is not None and shown.state == SUBSCRIBED and not _is_newer(shown.at, ours.at):
        at = said.at if _is_newer(said.at, ours.at) else None
        if at is None and ours.source not in {None, rule.source}:
            return _nothing(
                f"the yes that we wrote was at {ours.source}, and no later time shows that the no came after it"
            )
        return "withdraw", "the profile said yes when we subscribed the customer, and says no now", at
    if said.at is None:
        return _nothing("the profile has no time of the no")
    if not _is_newer(said.at, shown.at):
        return _nothing(f"the answer in Shopify of {_day(shown.at)} is newer")
    return "withdraw", f"the no in the profile of {_day(said.at)} is the newest answer", said.at


def judge_consents(
    case: Case,
    customer: Customer | None,
    changes: Sequence[Change],
    *,
    inherited: Mapping[str, Applied] = NO_FIELDS,
) -> tuple[Judged, ...]:
    """The decision about each consent of this user, on this customer (None: one that is created) after these changes.

    `inherited`: the last-applied fields of the former user of a customer that is taken over.
    """
    rules = case.store.consent.rules
    if not rules:
        return ()
    own = case.mapping.applied if case.mapping is not None else NO_FIELDS
    applied = {**case.view.former_consents, **with_former(own, inherited)}
    return tuple(_judged(channel, rule, case, customer, changes, applied) for channel, rule in rules.items())


def _judged(
    channel: Channel,
    rule: ConsentRule,
    case: Case,
    customer: Customer | None,
    changes: Sequence[Change],
    applied: Mapping[str, Applied],
) -> Judged:
    said = case.spec.consents.get(channel, Said())
    shown = _shown(channel, customer, changes)
    if shown is None:
        address = ADDRESSES[channel]
        hidden = customer is not None and address in customer.unknown
        why = f"Shopify does not show the {address}" if hidden else f"the customer has no {address}"
        return Judged(channel=channel, said=said, shown=None, outcome="nothing", why=why)
    outcome, why, at = judge(said, shown, last_consent(applied, channel), rule, case.now)
    if any(field_of(channel) in doubt.field for doubt in case.spec.doubts):
        outcome, why = "nothing", "the profile can't be read"
    if outcome == "grant" and (other := _other_address(channel, case, customer, changes)) is not None:
        outcome, why = "nothing", other
    level = rule.level.upper()
    if outcome == "withdraw" and shown.level in LEVELS:
        level = shown.level or level
    written = {"grant": SUBSCRIBED, "withdraw": UNSUBSCRIBED}.get(outcome)
    write = Consent(state=written, at=at, level=level, source=rule.source) if written is not None else None
    used = used_of(said, shown, case.now)
    return Judged(channel=channel, said=said, shown=shown, outcome=outcome, why=why, write=write, used=used)


def _shown(channel: Channel, customer: Customer | None, changes: Sequence[Change]) -> Consent | None:
    """What the shop shows; of an address that is about to be written, where there was none, that there is no answer."""
    address = ADDRESSES[channel]
    if customer is not None and (address in customer.unknown or channel in customer.consents):
        return customer.consents.get(channel)
    return NO_RECORD if any(c.field == address and c.after is not None for c in changes) else None


def _other_address(channel: Channel, case: Case, customer: Customer | None, changes: Sequence[Change]) -> str | None:
    """Why the customer's address is not the one that the user agreed for; None where it is."""
    address = ADDRESSES[channel]
    if any(address in doubt.field.split(", ") for doubt in case.spec.doubts):
        return f"the profile's {address} is not usable"
    written = next((c for c in changes if c.field == address), None)
    there = text_of(written.after) if written is not None else None
    if written is None and customer is not None:
        there = as_sent(case.mapping, customer, address)
    if address == "email":
        same = normalise.email_key(case.profile.email) == normalise.email_key(there)
    else:
        same = normalise.phone_key(phone_of(case.profile, case.store.country)) == normalise.phone_key(there)
    return None if same and there is not None else f"the customer has another {address} than the profile"


def consent_changes(judged: Iterable[Judged]) -> tuple[Change, ...]:
    """The changes that write these consents. They are never drift: what the customer decided in Shopify is theirs."""
    return tuple(
        Change(
            field=field_of(each.channel),
            before=str(each.shown) if each.shown is not None else None,
            after=str(each.write),
            why="profile changed",
        )
        for each in judged
        if each.write is not None
    )


def consent_holds(case: Case, customer: Customer | None, judged: Iterable[Judged]) -> tuple[Hold, ...]:
    """The holds of consents that the profile states in a way that can't be written."""
    return tuple(
        hold(case.user, customer, "ProfileInvalid", f"{field_of(each.channel)}: {each.why}", field_of(each.channel))
        for each in judged
        if each.outcome == "unclear"
    )


def has_consent(action: Action) -> bool:
    """Whether the action writes a consent."""
    return any(is_consent(change.field) for change in action.changes)


def is_consent_alone(action: Action) -> bool:
    """Whether the action writes consents and nothing else."""
    return action.kind == "update" and bool(action.changes) and all(is_consent(c.field) for c in action.changes)


def direction_of(change: Change) -> Direction | None:
    """Whether the change grants a consent or withdraws it; None where it is of another field."""
    if not is_consent(change.field):
        return None
    state, _, _ = (text_of(change.after) or "").partition(",")
    return "consent" if state == SUBSCRIBED else "withdrawal"


def directions_of(action: Action) -> frozenset[Direction]:
    """Whether the action grants consents, withdraws them, or both."""
    return frozenset(found for change in action.changes if (found := direction_of(change)) is not None)


def without_consent(action: Action, directions: Collection[Direction] = DIRECTIONS) -> Action:
    """The action without the consents of these directions; the same one where it writes none of them."""
    kept = tuple(change for change in action.changes if direction_of(change) not in directions)
    if len(kept) == len(action.changes):
        return action
    return replace(action, changes=kept, cost_points=points_of(action.kind, kept, action.how))


def with_times(action: Action, decision: Decision, seen_at: datetime | None) -> Action:
    """The action with a time for each consent without one: a minute before the customer was read, at `seen_at`.

    The user answered before that. Shopify keeps the latest answer, so who answers there after the reading has the last
    word, also if the clocks are apart. The time is later than that of the answer in Shopify that is replaced.
    """
    if not has_consent(action):
        return action
    assert seen_at is not None
    seen = (decision.target, decision.customer)
    shown = next((c.consents for c in seen if c is not None and c.id == action.customer_id), {})
    return replace(action, changes=tuple(_with_time(change, shown, seen_at) for change in action.changes))


def _with_time(change: Change, shown: Mapping[Channel, Consent], seen_at: datetime) -> Change:
    channel = channel_of(change.field)
    if channel is None or (consent := Consent.parse(text_of(change.after) or "")).at is not None:
        return change
    at = seen_at.replace(microsecond=0) - CLOCKS_APART
    before = shown[channel].at if channel in shown else None
    if before is not None:
        at = max(at, before + timedelta(seconds=1))
    return replace(change, after=str(replace(consent, at=at)))


def with_addresses_only(before: Iterable[Change], kept: Iterable[Change]) -> tuple[Change, ...]:
    """The kept changes, without the consents for an email or a phone that is not written after all."""
    kept = tuple(kept)
    lost = {change.field for change in before} - {change.field for change in kept}
    orphans = {field_of(channel) for channel, address in ADDRESSES.items() if address in lost}
    return tuple(change for change in kept if change.field not in orphans) if orphans else kept


def decided_without_consent(
    decision: Decision, *holds: Hold, directions: Collection[Direction] = DIRECTIONS
) -> Decision:
    """The decision without the consents of these directions, and with these holds; without an action, if none is left."""
    action = decision.action
    if action is None or directions_of(action).isdisjoint(directions):
        return decision
    left, holds = without_consent(action, directions), (*decision.holds, *holds)
    if left.kind == "update" and not left.changes:
        return replace(decision, action=None, holds=holds, status="held" if holds else "pending")
    return replace(decision, action=left, holds=holds)


def _is_newer(at: datetime | None, other: datetime | None) -> bool:
    return at is not None and (other is None or at > other)


def _nothing(why: str) -> Verdict:
    return "nothing", why, None


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at is not None else "an unknown day"
