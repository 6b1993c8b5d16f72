"""The three-way diff of spec, observed customer and last-applied fields. Finds for each field which side changed."""

from __future__ import annotations

from reconciler.core.fields import normalise
from reconciler.core.fields.spellings import as_shown, is_shown, respelt_tags
from reconciler.core.model.action import Change, Why
from reconciler.core.model.consent import channel_of
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import UNIQUE
from reconciler.core.model.mapping import Applied, Mapping, tags_in, text_in
from reconciler.core.model.scalars import FIELDS
from reconciler.core.model.spec import Spec, WantedField

_KEY_OF = {name: normalise.KEYS[field.form] for name, field in FIELDS.items()}


def comparable(field: str, value: str | None, type_: str = "") -> str | None:
    """A field's value in a form for comparison, after Shopify's normalisation."""
    return _KEY_OF[field](value) if field in _KEY_OF else normalise.metafield(value, type_)


def observed_value(customer: Customer, field: str) -> str | None:
    """The customer's value of one of our fields."""
    if field in _KEY_OF:
        return customer.scalar(field)
    if (channel := channel_of(field)) is not None:
        consent = customer.consents.get(channel)
        return str(consent) if consent is not None else None
    found = customer.metafields.get(field.removeprefix("metafields."))
    return found.value if found else None


def is_in_place(field: str, wanted: WantedField, observed: str | None, base: Applied | None) -> bool:
    """Whether the observed value is the wanted one, or the spelling that Shopify returned for it.

    `base`: the last-applied value of this customer, if any.
    """
    should_be = comparable(field, wanted.value, wanted.type)
    if comparable(field, observed, wanted.type) == should_be:
        return True
    return is_respelt(base, observed) and comparable(field, text_in(base), wanted.type) == should_be


def is_respelt(base: Applied | None, observed: str | None) -> bool:
    """Whether this is the spelling that Shopify returned for the value that we sent last."""
    return base is not None and base.respelt and base.shown == observed


def agreement_on(mapping: Mapping | None, customer: Customer, field: str) -> Applied | None:
    """The last-applied value of a field of this very customer.

    Staff may merge the user's customer into another: back-link, email and phone move with it. The shop holds each email
    and phone once, so one that this customer shows as it was last applied is the one that was applied.
    """
    if mapping is None:
        return None
    base = mapping.applied.get(field)
    if mapping.customer_id == customer.id or base is None:
        return base
    moved = field in UNIQUE and customer.backlink == mapping.clerk_user_id and base.value is not None
    same = moved and comparable(field, observed_value(customer, field)) == comparable(field, base.text)
    return base if same else None


def as_sent(mapping: Mapping | None, customer: Customer, field: str) -> str | None:
    """The observed value of a field; as we sent it, where Shopify returns another spelling."""
    observed = observed_value(customer, field)
    base = agreement_on(mapping, customer, field)
    return text_in(base) if is_respelt(base, observed) else observed


def respelt_of(mapping: Mapping | None, customer: Customer) -> dict[str, str]:
    """Email and phone of this customer as we sent them, where Shopify returns another spelling."""
    found: dict[str, str] = {}
    for field in UNIQUE:
        base = agreement_on(mapping, customer, field)
        if (sent := text_in(base)) is not None and is_respelt(base, observed_value(customer, field)):
            found[field] = sent
    return found


def changes_between(spec: Spec, customer: Customer, mapping: Mapping | None) -> tuple[Change, ...]:
    """The minimal patch from the observed customer to the spec, in the order of the spec."""
    found = [_field_change(field, wanted, customer, mapping) for field, wanted in spec.fields.items()]
    found.append(_tags_change(spec, customer, mapping))
    return tuple(change for change in found if change is not None)


def unobserved_fields(spec: Spec, customer: Customer, mapping: Mapping | None) -> tuple[str, ...]:
    """The fields that Shopify did not return and that may have to be written: whether they are equal is unknown."""
    if not customer.unknown:
        return ()
    found = [
        field
        for field, wanted in spec.fields.items()
        if field in customer.unknown and _may_be_owed(field, wanted, mapping)
    ]
    if "tags" in customer.unknown and (spec.tags or owned_tags(mapping)):
        found.append("tags")
    return tuple(found)


def _may_be_owed(field: str, wanted: WantedField, mapping: Mapping | None) -> bool:
    """Whether the field may have to be written: it should have a value, or one of ours must be cleared."""
    if wanted.policy not in {"enforce", "fill"}:
        return False
    base = mapping.applied.get(field) if mapping else None
    return wanted.value is not None or (wanted.policy == "enforce" and base is not None and base.ours)


def _field_change(field: str, wanted: WantedField, customer: Customer, mapping: Mapping | None) -> Change | None:
    if field in customer.unknown or wanted.policy in {"ignore", "create_only"}:
        return None
    observed = observed_value(customer, field)
    is_now = comparable(field, observed, wanted.type)
    should_be = comparable(field, wanted.value, wanted.type)
    there = agreement_on(mapping, customer, field)
    if is_in_place(field, wanted, observed, there) or (wanted.policy == "fill" and is_now is not None):
        return None
    base = mapping.applied.get(field) if mapping else None
    if should_be is None and not _may_clear(field, observed, there, wanted.type):
        return None
    why = _why(field, should_be, base, wanted, mapping)
    return Change(field=field, before=observed, after=wanted.value, why=why)


def _is_mapped_to(mapping: Mapping | None, customer: Customer) -> bool:
    """Whether the mapping's last-applied fields are those of this customer."""
    return mapping is not None and mapping.customer_id == customer.id


def _may_clear(field: str, observed: str | None, base: Applied | None, type_: str) -> bool:
    """Whether a field may be cleared: only a value that we set, while it is unchanged; the email never."""
    if field == "email" or base is None or not base.ours:
        return False
    return is_respelt(base, observed) or comparable(field, base.text, type_) == comparable(field, observed, type_)


def _why(field: str, should_be: str | None, base: Applied | None, wanted: WantedField, mapping: Mapping | None) -> Why:
    if mapping is not None and mapping.intent is not None:
        return "profile changed"  # the difference may come from our own unfinished action
    if base is None:
        known = mapping is not None and bool(mapping.applied)
        refused = mapping is not None and field in mapping.refused
        return "config changed" if known and not refused else "profile changed"
    if comparable(field, base.text, wanted.type) == should_be:
        return "drift"
    return "config changed" if base.config != wanted.config else "profile changed"


def owned_tags(mapping: Mapping | None) -> tuple[str, ...]:
    """The tags that we added, as Shopify returns them."""
    base = mapping.applied.get("tags") if mapping else None
    return tags_in(base).owned


def _tags_change(spec: Spec, customer: Customer, mapping: Mapping | None) -> Change | None:
    if "tags" in customer.unknown:
        return None
    present = normalise.tag_keys(customer.tags)
    respelt = respelt_tags(agreement_on(mapping, customer, "tags"))
    wanted = normalise.tag_keys(shown for tag in spec.tags if (shown := as_shown(tag, respelt)))
    missing = [tag for tag in spec.tags if not is_shown(tag, present, respelt)]
    owned = owned_tags(mapping) if _is_mapped_to(mapping, customer) else ()
    stale = {t.casefold() for t in owned} & present - wanted
    if not missing and not stale:
        return None
    base = mapping.applied.get("tags") if mapping else None
    agreed = {t.casefold() for t in tags_in(base).agreed}
    why: Why = "profile changed"
    if base is not None and (mapping is None or mapping.intent is None):
        drifted = not stale and all(tag.casefold() in agreed for tag in missing)
        why = "drift" if drifted else "config changed"
    after = normalise.tags([*(t for t in customer.tags if t.casefold() not in stale), *missing])
    return Change(field="tags", before=list(normalise.tags(customer.tags)), after=list(after), why=why)
