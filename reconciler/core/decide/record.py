"""The new row of the mapping table after an observation or a write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypedDict

from reconciler.core.decide.contested import kept_heals, with_contest, with_heals
from reconciler.core.decide.leaving.absence import absent_row, reason_since
from reconciler.core.decide.stale_row import STALE
from reconciler.core.fields import normalise
from reconciler.core.fields.consent import last_consents, with_answers_of, with_consents, with_former
from reconciler.core.fields.desired import config_digest, is_wanted, profile_digest
from reconciler.core.fields.diff import as_sent, comparable, is_in_place, observed_value, owned_tags
from reconciler.core.fields.fingerprint import observed_fp
from reconciler.core.fields.people import full_name, phone_of
from reconciler.core.fields.spellings import as_shown, is_shown, respelt_tags, spellings_of
from reconciler.core.model.action import Change, Hold
from reconciler.core.model.consent import Channel, Consent
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.mapping import (
    BACKLINK,
    NO_FINGERPRINTS,
    NO_PERSON,
    NO_WAITS,
    SUCCESSION,
    AgreedTags,
    Applied,
    Fingerprints,
    Intent,
    Mapping,
    Person,
    RefusedValue,
    Status,
    Waits,
    tags_in,
)
from reconciler.core.model.profile import Profile
from reconciler.core.model.spec import Spec, WantedField
from reconciler.core.model.store import Store
from reconciler.core.model.values import Value, tags_of, text_of
from reconciler.core.model.view import Decision, Subject

NOTHING_SHOWN: MappingOf[str, Value] = {}
SEEN_EVERY = timedelta(hours=1)  # the interval at which an unchanged row is written to update last_seen_at


def row_after_observation(subject: Subject, decision: Decision, store: Store, *, now: datetime) -> Mapping | None:
    """The row after an observation without a write; None where no row is needed or it would not change.

    Stores the fingerprints of a pair that is equal, if the fingerprint of the subject's row is known.
    """
    row = observed_row(subject, decision, store, now=now)
    return row if row is not None and is_news(subject.mapping, row, now=now) else None


def observed_row(subject: Subject, decision: Decision, store: Store, *, now: datetime) -> Mapping | None:
    """The row after an observation without a write, even if unchanged; None where no row is needed."""
    mapping = subject.mapping
    if decision.status is None or (mapping is None and decision.status == "released"):
        return None
    if mapping is None and decision.customer is None and not decision.holds:
        return None
    if decision.absent and mapping is not None:
        return absent_row(mapping, subject.profile, decision.holds[0], store, now=now, since=decision.absent_since)
    row = _base_row(mapping, decision, subject.profile, store, now=now)
    leaving = row.status in {"released", "erased"}
    applied = row.applied
    if decision.spec is not None and decision.customer is not None and not leaving:
        applied = last_applied(mapping, decision.spec, decision.customer, written=())
        applied = _with_link(applied, decision.customer.backlink, row, store)
        applied = with_contest(applied, decision.contests)
        applied = with_consents(applied, mapping, decision.customer, {}, _used(decision))
    if applied is not row.applied:
        row = replace(row, applied=applied)
    fingerprints = _fingerprints(mapping, row, decision, subject.row_fp)
    return row if fingerprints is None else replace(row, **fingerprints)


def row_after_write(
    mapping: Mapping | None,
    decision: Decision,
    profile: Profile | None,
    store: Store,
    *,
    customer_id: CustomerId,
    written: tuple[Change, ...],
    finished: bool,
    now: datetime,
    intent: Intent | None = None,
    shown: MappingOf[str, Value] = NOTHING_SHOWN,
    healed: tuple[Change, ...] | None = None,
) -> Mapping:
    """The row after these changes were written on this customer. `shown`: the fields in the shop's answer.

    `healed`: those of them that `mapping` does not know of yet, where it was read after the action was decided; None: all.

    `finished` is False while more writes of the action follow. `intent` describes these, so that a crash in between is
    distinguished from an edit.
    """
    row = _base_row(mapping, decision, profile, store, now=now)
    seen = next(
        (c for c in (decision.target, decision.customer) if c and c.id == customer_id), Customer(id=customer_id)
    )
    applied: MappingOf[str, Applied] = row.applied
    if decision.spec is not None:
        inherited = decision.inherited
        agreed_by = replace(row, customer_id=customer_id, applied=inherited) if inherited else mapping
        applied = last_applied(
            agreed_by, decision.spec, seen, written=written, shown=shown, is_newer=healed is not None
        )
        applied = with_contest(
            with_heals(applied, agreed_by, written if healed is None else healed, now), decision.contests
        )
        known = with_answers_of(mapping, decision.customer, decision.spec.consents, now)
        if inherited:
            known = _with_former(known or row, inherited)
        applied = with_consents(applied, known, seen, {c.field: c for c in written}, _used(decision))
        if finished:
            link = next((text_of(c.after) for c in written if c.field == "backlink"), None)
            applied = _with_link(applied, link or seen.backlink, row, store)
    elif decision.action is not None and decision.action.kind == "release":
        applied = with_consents(_with_leave_tag(row, written), mapping, seen, {}, {})
    status: Status = row.status if finished else "pending"
    email = next((text_of(c.after) for c in written if c.field == "email"), _email(seen, row))
    return replace(
        row,
        customer_id=customer_id,
        email=email,
        applied=applied,
        status=status,
        generation=row.generation + 1,
        intent=None if finished else intent,
    )


def _used(decision: Decision) -> dict[Channel, Consent | None]:
    """Each yes of the profile that finds the customer subscribed."""
    return {each.channel: each.used for each in decision.consents}


def with_refused(mapping: Mapping, refused: MappingOf[str, RefusedValue]) -> Mapping:
    """The row with refused values, which are not sent again until something changes."""
    merged = dict(mapping.refused)
    for field, value in refused.items():
        before = merged.get(field)
        asked = before is not None and before.asked and before.digest == value.digest
        merged[field] = replace(value, asked=value.asked or asked)
    return replace(mapping, refused=merged, **NO_FINGERPRINTS)


def with_failure(
    mapping: Mapping | None, user: ClerkUserId, store: Store, *, reason: str, message: str, now: datetime
) -> Mapping | None:
    """The row after an action that was not executed: pending, with the cause. None for a held, released or erased row."""
    if mapping is not None and mapping.status not in {"in_sync", "pending"}:
        return None
    row = mapping or new_row(user, store, now=now)
    since = reason_since(row, reason, now)
    return replace(row, status="pending", reason=reason, message=message, reason_since=since, **NO_FINGERPRINTS)


def _with_former(row: Mapping, inherited: MappingOf[str, Applied]) -> Mapping:
    """The row with the last consents of the former user of its customer."""
    return replace(row, applied=with_former(row.applied, inherited))


def with_intent(
    mapping: Mapping | None,
    decision: Decision,
    store: Store,
    intent: Intent | None,
    *,
    now: datetime,
) -> Mapping:
    """The row before the first write of an action, so that an interrupted action is not mistaken for an edit.

    It has the consents that the customer shows: they may be gone after the write, as those of an email that is replaced.
    And it has those of a former user: after the write of the back-link, the customer has none.
    """
    row = mapping or new_row(decision.clerk_user_id, store, now=now)
    said = decision.spec.consents if decision.spec is not None else {}
    row = with_answers_of(row, decision.customer, said, now) or row
    row = _with_former(row, decision.inherited) if decision.inherited else row
    return replace(row, intent=intent, status="pending", last_seen_at=now, **NO_FINGERPRINTS)


def tombstone_of(row: Mapping, *, now: datetime) -> Mapping:
    """The tombstone of a user after another user adopts the customer. It keeps the customer id until that user has it."""
    return replace(
        row,
        status="released",
        reason=None,
        message=None,
        reason_since=None,
        last_seen_at=now,
        left_at=now,
        left_row_at=None,
        absent_since=None,
        intent=None,
        **NO_WAITS,
        **NO_FINGERPRINTS,
    )


def new_row(user: ClerkUserId, store: Store, *, now: datetime) -> Mapping:
    """The first row of a user in a shop, before any observation there."""
    return Mapping(clerk_user_id=user, store=store.name, shop=store.shop, first_seen_at=now, last_seen_at=now)


def last_applied(
    mapping: Mapping | None,
    spec: Spec,
    customer: Customer,
    *,
    written: tuple[Change, ...],
    shown: MappingOf[str, Value] = NOTHING_SHOWN,
    is_newer: bool = False,
) -> dict[str, Applied]:
    """The last-applied fields. A field on which spec and customer differ keeps its earlier value.

    `shown`: the fields in the shop's answers to these writes; others are missing. `is_newer`: `mapping` may be newer
    than `customer`.
    """
    same_customer = mapping is not None and mapping.customer_id in {None, customer.id}
    base: dict[str, Applied] = dict(mapping.applied) if mapping is not None and same_customer else {}
    now_written = {c.field: c.after for c in written}
    for field, wanted in spec.fields.items():
        before = base.get(field)
        if field in now_written:
            if not _same(field, text_of(now_written[field]), wanted.value, wanted.type):
                continue
        elif field in customer.unknown or not is_in_place(field, wanted, observed_value(customer, field), before):
            continue
        same_as_before = before is not None and _same(field, before.text, wanted.value, wanted.type)
        kept = before is not None and before.ours and same_as_before
        found = Applied(
            value=wanted.value, ours=wanted.value is not None and (field in now_written or kept), config=wanted.config
        )
        now = shown if field in now_written else {field: observed_value(customer, field)}
        spelled = _with_spelling(found, field, wanted, now, before if same_as_before else None)
        base[field] = kept_heals(spelled, before)
    if "tags" in now_written or "tags" not in customer.unknown:
        base["tags"] = _agreed_tags(
            base.get("tags"),
            spec,
            customer,
            tags_of(now_written["tags"]) if "tags" in now_written else None,
            tags_of(shown["tags"]) if "tags" in now_written and "tags" in shown else None,
            is_newer=is_newer,
        )
    return base


def _with_link(
    applied: MappingOf[str, Applied], backlink: str | None, row: Mapping, store: Store
) -> dict[str, Applied]:
    """Add the metafield of the back-link, which must be removed if the config renames it later."""
    found = dict(applied)
    known = found.get(BACKLINK)
    if backlink == row.clerk_user_id and (known is None or known.config != store.backlink.name):
        found[BACKLINK] = Applied(value=backlink, ours=True, config=store.backlink.name)
    return found


def _same(field: str, one: str | None, other: str | None, type_: str) -> bool:
    return one == other or comparable(field, one, type_) == comparable(field, other, type_)


def _with_spelling(
    found: Applied, field: str, wanted: WantedField, now: MappingOf[str, Value], before: Applied | None
) -> Applied:
    """Add the shop's spelling of this value, if it is an unknown one; without an answer, keep the known spelling."""
    if found.value is None:
        return found
    if field not in now:
        if before is None or not before.respelt:
            return found
        return replace(found, respelt=True, shown=before.shown)
    seen = text_of(now[field])
    if _same(field, seen, wanted.value, wanted.type):
        return found
    return replace(found, respelt=True, shown=seen)


def _agreed_tags(
    before: Applied | None,
    spec: Spec,
    customer: Customer,
    after: list[str] | None,
    shown: Sequence[str] | None,
    *,
    is_newer: bool,
) -> Applied:
    """Our tags after an observation or a write. `after`: the tags that were written, `shown`: those in the answer."""
    base = tags_in(before)
    owned = {t.casefold(): t for t in base.owned}
    had = normalise.tag_keys(customer.tags)
    respelt = dict(respelt_tags(before))
    now: Iterable[str] = customer.tags
    if after is not None:
        added = [t for t in after if t.casefold() not in had]
        if shown is not None:
            respelt |= spellings_of(added, had, shown)
        ours = [name for t in added if (name := as_shown(t, respelt)) is not None]
        owned.update({t.casefold(): t for t in ours})
        now = shown if shown is not None else [name for t in after if (name := as_shown(t, respelt)) is not None]
    present = normalise.tag_keys(now)
    kept = present
    if is_newer:  # another process may have recorded others since the action was decided
        kept = present | (normalise.tag_keys(base.owned) - had - normalise.tag_keys(after or ()))
    known = {t.casefold() for t in base.agreed}  # also tags that were removed since
    value = AgreedTags(
        owned=tuple(sorted(tag for key, tag in owned.items() if key in kept)),
        agreed=tuple(sorted(t for t in spec.tags if t.casefold() in known or is_shown(t, present, respelt))),
        respelt={key: respelt[key] for t in spec.tags if (key := t.casefold()) in respelt and key not in present},
    )
    return Applied(value=value, ours=bool(value.owned), config=spec.tags_config)


def _with_leave_tag(row: Mapping, written: tuple[Change, ...]) -> dict[str, Applied]:
    tags = next((c for c in written if c.field == "tags"), None)
    if tags is None:
        return dict(row.applied)
    before = row.applied.get("tags")
    added = [t for t in tags_of(tags.after) if t.casefold() not in normalise.tag_keys(tags_of(tags.before))]
    value = AgreedTags(owned=tuple(sorted({*owned_tags(row), *added})), agreed=tags_in(before).agreed)
    return {**row.applied, "tags": Applied(value=value, ours=True, config=before.config if before else "")}


def _base_row(
    mapping: Mapping | None, decision: Decision, profile: Profile | None, store: Store, *, now: datetime
) -> Mapping:
    row = mapping or new_row(decision.clerk_user_id, store, now=now)
    releasing = decision.action is not None and decision.action.kind == "release"
    status: Status = decision.status or ("held" if decision.holds else "in_sync")
    if releasing:
        status = "erased" if decision.action is not None and decision.action.how == "erase" else "released"
    leaving = status in {"released", "erased"}
    still_gone = leaving and mapping is not None and mapping.status == status
    reason, message = _reason(decision.holds, row if still_gone else None)
    customer = decision.customer
    customer_id, email, applied = row.customer_id, row.email, row.applied
    if decision.lost:
        customer_id, email, applied = None, None, last_consents(row.applied)
    if (
        customer is not None
        and not still_gone
        and (customer.backlink == row.clerk_user_id or customer.id == row.customer_id)
    ):
        # Not a customer that is yet to be adopted: what holds the adoption must also hold it next time.
        customer_id, email = customer.id, _email(customer, row)
    return replace(
        row,
        store=store.name,
        customer_id=customer_id,
        email=email,
        applied=applied,
        status=status,
        reason=reason,
        message=message,
        reason_since=reason_since(row, reason, now),
        last_seen_at=now,
        left_at=(row.left_at or now) if leaving else None,
        intent=_intent_of(row, decision),
        **waits_of(decision),
        **_digests(row, profile, store, keeps=still_gone or any(h.reason == STALE for h in decision.holds)),
        absent_since=row.absent_since if profile is None and not leaving else None,
        left_row_at=_left_row_at(row, profile, still_gone=still_gone) if leaving else None,
        config_digest=config_digest(store),
        **_person(row, profile, decision.spec, store, status),
        **NO_FINGERPRINTS,
    )


def _person(row: Mapping, profile: Profile | None, spec: Spec | None, store: Store, status: Status) -> Person:
    """By what the user is found. A missing row changes nothing; an erasure leaves nothing."""
    if status == "erased":
        return NO_PERSON
    if profile is None:
        return Person(profile_name=row.profile_name, profile_email=row.profile_email, profile_phone=row.profile_phone)
    phone = spec.fields.get("phone") if spec is not None else None
    return Person(
        profile_name=full_name(profile),
        profile_email=normalise.email(profile.email),
        profile_phone=phone.value if phone is not None else phone_of(profile, store.country),  # to parse one takes long
    )


def waits_of(decision: Decision) -> Waits:
    """The values that this decision waits for, and the customers that have them."""
    if not decision.taken:
        return NO_WAITS
    taken = {each.field: each for each in decision.taken}
    email, phone = taken.get("email"), taken.get("phone")
    return Waits(
        waits_for_email=email.key or None if email is not None else None,
        waits_for_phone=phone.key or None if phone is not None else None,
        waits_at_email=email.customer_id if email is not None else None,
        waits_at_phone=phone.customer_id if phone is not None else None,
    )


def _intent_of(row: Mapping, decision: Decision) -> Intent | None:
    """The intent after an observation: a deletion that waits for a successor, or the unfinished earlier one."""
    if decision.successor is not None and decision.status == "pending" and not decision.absent:
        return Intent(kind=SUCCESSION, to=decision.successor)
    return row.intent if _is_under_way(row, decision) else None


def _is_under_way(row: Mapping, decision: Decision) -> bool:
    """Whether the intent is unfinished: values are parked, or another user still has the new email."""
    taken = {t.field for t in decision.taken}
    if row.parked_values:
        return not taken.isdisjoint(row.parked_values)
    return any(h.field == "email" and h.reason == "EmailTaken" for h in decision.holds)


def _left_row_at(row: Mapping, profile: Profile | None, *, still_gone: bool) -> datetime | None:
    """`updated_at` of the row with which the user left; None where the row is missing."""
    if profile is None:
        return None
    return row.left_row_at if still_gone else profile.updated_at


class _Digests(TypedDict):
    profile_digest: str
    wanted_digest: str | None
    wanted_row_at: datetime | None


def _digests(row: Mapping, profile: Profile | None, store: Store, *, keeps: bool) -> _Digests:
    """The digests of the row now, and when the store last wanted it, with the time of that row.

    A missing row changes none of them, nor does one that decides nothing (`keeps`). A moved `updated_at` alone does not
    either: the mapping stays as it is.
    """
    now = row.profile_digest if profile is None or keeps else profile_digest(profile)
    digests = _Digests(profile_digest=now, wanted_digest=row.wanted_digest, wanted_row_at=row.wanted_row_at)
    if profile is None or keeps or not is_wanted(profile, store):
        return digests
    if now != row.wanted_digest or row.wanted_row_at is None:
        digests["wanted_row_at"] = profile.updated_at
    digests["wanted_digest"] = now
    return digests


def _email(customer: Customer, row: Mapping) -> str | None:
    """The customer's email, as we sent it; the last known one, where Shopify does not return it."""
    hidden = "email" in customer.unknown and row.customer_id == customer.id
    return row.email if hidden else as_sent(row, customer, "email")


def _fingerprints(mapping: Mapping | None, row: Mapping, decision: Decision, row_fp: int | None) -> Fingerprints | None:
    """The fingerprints of an equal pair; None without such a pair.

    Without a new row fingerprint, the old ones stay while the row is unchanged.

    A pair with accepted drift, or with fields that Shopify did not return, does not count as equal.
    """
    customer = decision.customer
    equal = decision.status == "in_sync" and decision.action is None and not decision.holds and not decision.accepted
    if not equal or customer is None or customer.backlink != row.clerk_user_id or row.intent is not None:
        return None
    if row_fp is not None:
        seen = observed_fp(customer)
        return Fingerprints(profile_fp=row_fp, observed_fp=seen) if seen is not None else None
    if mapping is None:
        return None
    known = Fingerprints(profile_fp=mapping.profile_fp, observed_fp=mapping.observed_fp)
    return known if replace(row, last_seen_at=mapping.last_seen_at, **known) == mapping else None


def _reason(holds: tuple[Hold, ...], kept: Mapping | None) -> tuple[str | None, str | None]:
    if not holds:
        return (kept.reason, kept.message) if kept else (None, None)
    first = min(holds, key=lambda h: (h.field is not None, h.reason))
    return first.reason, "; ".join(h.message for h in holds)


def is_news(before: Mapping | None, after: Mapping, *, now: datetime) -> bool:
    """Whether a row has changed, or was last written more than SEEN_EVERY ago.

    For a missing profile row each read counts (core/decide/leaving/absence.py).
    """
    if before is None or before.last_seen_at is None or now - before.last_seen_at >= SEEN_EVERY:
        return True
    if after.absent_since is not None:
        return True
    return replace(before, last_seen_at=after.last_seen_at) != after
