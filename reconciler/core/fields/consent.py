"""The consents that a profile states, and the consents of a customer as text."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from reconciler.core.fields.readings import EARLIEST, UnreadableError, moment, truth
from reconciler.core.model.action import Change
from reconciler.core.model.consent import (
    ADDRESSES,
    CLOCKS_APART,
    SUBSCRIBED,
    UNSUBSCRIBED,
    Channel,
    Consent,
    ConsentRule,
    Said,
    channel_of,
    field_of,
    is_consent,
)
from reconciler.core.model.customer import Customer
from reconciler.core.model.frozen import frozen
from reconciler.core.model.mapping import Applied, Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.spec import Doubt
from reconciler.core.model.values import text_of

LATEST: Final = datetime.max.replace(tzinfo=UTC)
TOO_EARLY: Final = "is before 2000, which is no time of an answer"


@frozen
class LastConsent:
    """The last consent that is known of a user in a store, on whichever customer, and whether we wrote it."""

    consent: Consent
    ours: bool


def said_of(profile: Profile, rule: ConsentRule, channel: Channel) -> tuple[Said, Doubt | None]:
    """What the profile says of this consent; with a doubt, where something is there that can't be read.

    A time as the answer (`subscribed_at`) is a yes at that time, if `at` has no other.
    """
    if not profile.knows("metadata"):
        return Said(), None
    answer, answered_at = profile.value_at(rule.source), None
    try:
        granted = truth(answer)
    except UnreadableError as error:
        granted, answered_at = True, _time_of(answer)
        if answered_at is None:
            return Said(), _doubt(channel, rule.source, error)
    if granted is None:
        return Said(), None
    try:
        at = moment(profile.value_at(rule.at)) if rule.at is not None else None
    except UnreadableError as error:
        return Said(), _doubt(channel, rule.at or rule.source, error)
    if at is not None and at < EARLIEST:
        return Said(), _doubt(channel, rule.at or rule.source, UnreadableError(TOO_EARLY))
    at = at or answered_at
    return Said(granted=granted, at=at.replace(microsecond=0) if at is not None else None), None


def _time_of(answer: object) -> datetime | None:
    """The answer as a time; None where it is none, or a value in place of none, such as 0 and 0001-01-01."""
    try:
        at = moment(answer)
    except UnreadableError:
        return None
    return at if at is not None and at >= EARLIEST else None


def _doubt(channel: Channel, path: str, error: UnreadableError) -> Doubt:
    message = f"{path} {error}: {field_of(channel)} is not written"
    return Doubt(field=field_of(channel), reason="ProfileInvalid", message=message)


def last_consent(applied: MappingOf[str, Applied], channel: Channel) -> LastConsent | None:
    """The last consent among the last-applied fields: the one that was written last, or a later withdrawal in Shopify."""
    base = applied.get(field_of(channel))
    if base is None or base.text is None:
        return None
    return LastConsent(Consent.parse(base.text), base.ours)


def last_consents(applied: MappingOf[str, Applied]) -> dict[str, Applied]:
    """The last consents among the last-applied fields. They belong to the user, and outlive the customer."""
    return {name: base for name, base in applied.items() if is_consent(name)}


def with_consents(
    applied: MappingOf[str, Applied],
    mapping: Mapping | None,
    customer: Customer,
    written: MappingOf[str, Change],
    used: MappingOf[Channel, Consent | None],
) -> dict[str, Applied]:
    """The last-applied fields with the last consents of this user: what was written, and the withdrawals that are shown.

    They outlive the customer, so that an answer which was written once is never written again for another customer, or for
    another email. So does a yes in the profile (`used`) of a customer who was subscribed without us. They outlive a time
    in which the store manages no consent, too.
    """
    if (
        not customer.consents
        and not written
        and not any(map(is_consent, [*applied, *(mapping.applied if mapping else ())]))
    ):
        return dict(applied)
    found = {name: base for name, base in applied.items() if not is_consent(name)}
    for channel in ADDRESSES:
        name = field_of(channel)
        if mapping is not None and name in mapping.applied:
            found[name] = mapping.applied[name]
        shown = customer.consents.get(channel)
        if name in written:
            found[name] = Applied(value=text_of(written[name].after), ours=True)
        elif shown is not None and shown.state == UNSUBSCRIBED and not _is_as_late(found.get(name), shown.at):
            found[name] = Applied(value=str(_withdrawal(shown, found.get(name))))
        elif shown is not None and (yes := used.get(channel)) is not None:
            found[name] = _in_use(yes, found.get(name), shown)
    return found


def with_former(applied: MappingOf[str, Applied], former: MappingOf[str, Applied]) -> MappingOf[str, Applied]:
    """The last-applied fields of a user who takes over a customer, with the last consents of its `former` user.

    Of two, the one that asks for the later yes. What the former user answered is no consent of this user: it is not ours.
    """
    found = dict(applied)
    for name, base in last_consents(former).items():
        own, theirs = found.get(name), replace(base, ours=False)
        found[name] = theirs if own is None or _yes_after(theirs) > _yes_after(own) else own
    return found


def _yes_after(base: Applied) -> datetime:
    """The time after which a yes counts again. A withdrawal without a time comes after each."""
    known = Consent.parse(base.text or "")
    return known.at or (LATEST if known.state == UNSUBSCRIBED else EARLIEST)


def used_of(said: Said, shown: Consent, now: datetime) -> Consent | None:
    """The yes that finds the customer subscribed. A time to come would be later than each yes until then."""
    if not said.granted or shown.state != SUBSCRIBED:
        return None
    times = [at for at in (said.at, shown.at) if at is not None and at <= now + CLOCKS_APART]
    return Consent(state=SUBSCRIBED, at=max(times, default=None))


def with_answers_of(
    mapping: Mapping | None, customer: Customer | None, said: MappingOf[Channel, Said], now: datetime
) -> Mapping | None:
    """The mapping with the answers that this customer shows, which the user leaves for another one.

    They are withdrawals, and a yes of the profile (`said`) that is in effect.
    """
    if mapping is None or customer is None or not customer.consents:
        return mapping
    used = {
        channel: used_of(answer, shown, now)
        for channel, answer in said.items()
        if (shown := customer.consents.get(channel)) is not None
    }
    return replace(mapping, applied=with_consents(mapping.applied, mapping, customer, {}, used))


def _withdrawal(shown: Consent, base: Applied | None) -> Consent:
    """The withdrawal that is shown. It came after what was written last, even if it shows an earlier time."""
    last_at = Consent.parse(base.text).at if base is not None and base.text is not None else None
    times = [at for at in (shown.at, last_at) if at is not None]
    return Consent(state=UNSUBSCRIBED, at=max(times, default=None))


def _in_use(used: Consent, base: Applied | None, shown: Consent) -> Applied:
    """The last consent after a yes found the customer subscribed: no yes up to the later time is written any more.

    It is not ours any more if the customer has subscribed again in Shopify since we wrote it.
    """
    if base is None or base.text is None:
        return Applied(value=str(used))
    known = Consent.parse(base.text)
    if used.at is None or (known.at is not None and known.at >= used.at):
        return base
    if known.state == SUBSCRIBED:
        again = shown.at is not None and known.at is not None and shown.at > known.at
        return replace(base, value=str(replace(known, at=used.at)), ours=base.ours and not again)
    return base if known.at is None else Applied(value=str(used))


def _is_as_late(base: Applied | None, at: datetime | None) -> bool:
    """Whether this is a withdrawal of that time, or of a later one."""
    if base is None or base.text is None:
        return False
    known = Consent.parse(base.text)
    return known.state == UNSUBSCRIBED and known.at is not None and (at is None or known.at >= at)


def is_written(change: Change, customer: Customer) -> bool:
    """Whether the customer has the consent of this change."""
    channel = channel_of(change.field)
    shown = customer.consents.get(channel) if channel is not None else None
    wanted = text_of(change.after)
    if shown is None or wanted is None:
        return False
    consent = Consent.parse(wanted)
    return shown.state == consent.state and (shown.at == consent.at or consent.state != SUBSCRIBED)
