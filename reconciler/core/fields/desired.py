"""The spec of a user, derived from the profile and the store's policy; independent of the observed customer."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from reconciler.core.fields import normalise
from reconciler.core.fields.consent import said_of
from reconciler.core.fields.metafields import sendable
from reconciler.core.model.consent import Channel, Said
from reconciler.core.model.frozen import frozen
from reconciler.core.model.profile import Profile
from reconciler.core.model.scalars import FIELDS, LATER, SCALARS, Policy
from reconciler.core.model.spec import Doubt, Spec, WantedField
from reconciler.core.model.store import Store

_canonical = json.JSONEncoder(sort_keys=True, default=str, separators=(",", ":"), ensure_ascii=False).encode

_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?e[-+]\d+')
"""In JSON: a string, or a number with an exponent, which Shopify does not accept as a number."""

_DECIDING = frozenset({"clerk_user_id", "email", "email_verified", "deleted_at"})
"""Columns that count whatever the policy says."""

_TEXTS = {name: (normalise.KEYS[field.form], field.length_max) for name, field in FIELDS.items()}
_WORDS = {True: frozenset({"yes", "on"}), False: frozenset({"no", "off"})}


def digest(*parts: object) -> str:
    """A digest of 16 hex digits, equal in every process."""
    return hashlib.blake2b(_canonical(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@frozen
class _Rules:
    """Values derived from a policy that are the same for every profile; computed once for each store."""

    config: str
    policies: Mapping[str, Policy]
    fields: Mapping[str, str]
    metafields: Mapping[str, str]
    tags: tuple[str, ...]
    tags_config: str
    columns: frozenset[str]
    deciding: frozenset[str]
    paths: tuple[str, ...]


class _This:
    """A store object as a cache key, by identity: policies are immutable but not hashable."""

    __slots__ = ("store",)

    def __init__(self, store: Store) -> None:
        self.store = store

    def __hash__(self) -> int:
        return id(self.store)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _This) and other.store is self.store


@lru_cache(maxsize=1024)
def _rules(this: _This) -> _Rules:
    store = this.store
    return _Rules(
        config=digest(store.model_dump(mode="json", by_alias=True, exclude=_unused_keys(store)), store.trust_email),
        policies={field: store.fields.of(field) for field in SCALARS},
        fields={field: _rule_digest(store, field) for field in SCALARS},
        metafields={name: digest(rule.model_dump()) for name, rule in store.metafields.items()},
        tags=normalise.tags(store.tags),
        tags_config=digest(store.tags),
        columns=frozenset(_used_columns(store)),
        deciding=frozenset({*_used_columns(store), *_DECIDING, *(path.split(".")[0] for path in store.where)}),
        paths=tuple(sorted(path for path in _used_paths(store) if path.startswith("metadata."))),
    )


def _unused_keys(store: Store) -> dict[str, bool | set[str]]:
    """The keys of a later version that have no effect here, so that it finds what an earlier one stored."""
    return {} if store.consent.channels else {"consent": True, "guards": {"consent"}}


def config_digest(store: Store) -> str:
    """The digest of everything in the policy that affects a spec or a decision; a plan detects changes by it."""
    return _rules(_This(store)).config


def profile_digest(profile: Profile | None) -> str:
    """The digest of a profile without `updated_at`. A later field counts only with a value."""
    if profile is None:
        return digest(None)
    values = profile.model_dump(mode="json", exclude={"updated_at", "mapped", "may_lag"})
    for name in LATER:
        if values[name] is None:
            del values[name]
    return digest(values)


def used_digest(profile: Profile | None, store: Store) -> str:
    """The digest of what decisions in this store read of a profile.

    Other columns and keys of the metadata, such as the time of the last visit, may change with each read.
    """
    if profile is None:
        return digest(None)
    rules = _rules(_This(store))
    values = profile.model_dump(mode="json", include=set(rules.deciding - {"metadata"}))
    problems = sorted((p.field, p.message) for p in profile.problems if p.field in rules.deciding)
    return digest(values, profile.deleted, [profile.value_at(path) for path in rules.paths], problems)


def is_wanted(profile: Profile | None, store: Store) -> bool | None:
    """Whether the store wants this user; None where a deciding column can't be read."""
    if profile is None or profile.deleted:
        return False
    if not store.where and not profile.problems:
        return True
    answers = [matches(profile, path, rule) for path, rule in store.where.items()]
    if False in answers:
        return False
    return None if None in answers or (not profile.knows("deleted_at") and _unreadable(profile, "deleted_at")) else True


def unmatched_paths(profile: Profile, store: Store) -> list[str]:
    """The paths of the store's `where` that do not match this profile, in the order of the file."""
    return [path for path, rule in store.where.items() if matches(profile, path, rule) is False]


def may_want(profile: Profile, store: Store) -> bool:
    """Whether the store may want this user, judged by Clerk's data alone; the app may set values that Clerk does not
    have.
    """
    return all(
        profile.value_at(path) is None or matches(profile, path, rule) is not False
        for path, rule in store.where.items()
    )


def deciding_problems(profile: Profile, store: Store) -> list[str]:
    """The problems of the columns that decide whether the store wants this user, each cause once."""
    deciding = {"deleted_at", *(path.split(".", maxsplit=1)[0] for path in store.where)}
    fields: dict[str, set[str]] = {}
    for problem in profile.problems:
        fields.setdefault(problem.message, set()).add(problem.field)
    causes = {message: sorted(found & deciding) for message, found in fields.items() if found & deciding}
    return sorted(
        message if "clerk_user_id" in fields[message] else f"{', '.join(columns)} can't be read ({message})"
        for message, columns in causes.items()
    )


def spec_of(profile: Profile, store: Store) -> Spec:
    """The spec of a wanted profile."""
    rules = _rules(_This(store))
    fields: dict[str, WantedField] = {}
    doubts: list[Doubt] = []
    for field, policy in rules.policies.items():
        try:
            if profile.problems:
                _check_readable(profile, field)
            value = _wanted_value(profile, store, field) if field in profile.mapped else None
        except _DoubtError as error:
            if policy != "ignore" or field == "email":
                doubts.append(Doubt(field=field, reason=error.reason, message=error.message))
            continue
        if field in profile.mapped and policy != "ignore":
            fields[field] = WantedField(value=value, policy=policy, config=rules.fields[field])
    for name, rule in store.metafields.items():
        if rule.policy == "ignore" or not _has(profile, rule.source):
            continue
        text = (_as_text(profile.value_at(rule.source)) or "").strip()
        raw = sendable(text, rule.type) if normalise.metafield(text, rule.type) is not None else None
        fields[f"metafields.{name}"] = WantedField(
            value=raw, policy=rule.policy, config=rules.metafields[name], type=rule.type
        )
    doubts.extend(
        Doubt(field=p.field, reason="ProfileInvalid", message=p.message)
        for p in profile.problems
        if p.field not in {"email", "phone", "email_verified", *(d.field for d in doubts)} and p.field in rules.columns
    )
    consents: dict[Channel, Said] = {}
    for channel, consent_rule in store.consent.rules.items():
        consents[channel], doubt = said_of(profile, consent_rule, channel)
        doubts.extend([doubt] if doubt is not None else ())
    doubts = _group_by_cause(doubts)
    email = normalise.email(profile.email)
    trusted = store.trust_email == "always" or (store.trust_email == "verified" and profile.email_verified is True)
    usable = email is not None and trusted and not any(d.field == "email" for d in doubts)
    return Spec(
        fields=fields,
        tags=rules.tags,
        tags_config=rules.tags_config,
        lookup_email=email if usable else None,
        doubts=tuple(doubts),
        consents=consents,
    )


def _group_by_cause(doubts: list[Doubt]) -> list[Doubt]:
    """Combine doubts of several fields with one cause into one doubt that names the fields."""
    alike: dict[tuple[str, str], list[Doubt]] = {}
    for doubt in doubts:
        alike.setdefault((doubt.reason, doubt.message), []).append(doubt)
    return [
        same[0] if len(same) == 1 else replace(same[0], message=f"{_named(same)}: {message}")
        for (_, message), same in alike.items()
    ]


def _named(doubts: list[Doubt]) -> str:
    return ", ".join(sorted({d.field for d in doubts}))


class _DoubtError(Exception):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


def _check_readable(profile: Profile, field: str) -> None:
    for problem in profile.problems:
        if problem.field == field:
            reason = {"email": "EmailInvalid", "phone": "PhoneInvalid"}.get(field, "ProfileInvalid")
            raise _DoubtError(reason, problem.message)


def _wanted_value(profile: Profile, store: Store, field: str) -> str | None:
    """The profile's value as it is written. _DoubtError where Shopify does not accept it."""
    if field == "email":
        return _email(profile, store)
    if field == "phone":
        try:
            return normalise.phone(profile.phone, store.country)
        except ValueError as error:
            raise _DoubtError("PhoneInvalid", f"the profile's phone is not written: {error}") from error
    normal, length_max = _TEXTS[field]
    value = normal(profile.scalar(field))
    if value is not None and len(value) > length_max:
        raise _DoubtError("Rejected", f"{field} has {len(value)} characters; Shopify accepts {length_max} at most")
    return value


def _email(profile: Profile, store: Store) -> str | None:
    email = normalise.email(profile.email)
    if email is None:
        return None
    unseen = normalise.unseen_in(email)
    if unseen is not None:
        message = (
            f"the profile's email contains an invisible character (U+{ord(unseen):04X}): enter it again in the profile"
        )
        raise _DoubtError("EmailInvalid", message)
    if not normalise.email_is_valid(email):
        raise _DoubtError("EmailInvalid", "Shopify does not accept the profile's email: correct it in the profile")
    unread = next((p.message for p in profile.problems if p.field == "email_verified"), None)
    if store.trust_email == "verified" and unread is not None:
        message = f"whether the profile's email is verified is unknown ({unread}), so it is neither written nor used"
        raise _DoubtError("EmailUnverified", message)
    if store.trust_email == "verified" and profile.email_verified is not True:
        raise _DoubtError("EmailUnverified", "the profile's email is not verified, so it is neither written nor used")
    return email


def _rule_digest(store: Store, field: str) -> str:
    extra = {"phone": store.country, "email": store.trust_email}.get(field)
    return digest(store.fields.of(field), extra)


def _used_columns(store: Store) -> set[str]:
    used = {f for f in SCALARS if store.fields.of(f) != "ignore"}
    used |= {rule.source.split(".")[0] for rule in store.metafields.values() if rule.policy != "ignore"}
    return used | ({"metadata"} if store.consent.channels else set())


def _used_paths(store: Store) -> set[str]:
    """The paths of `where`, of metafields and of consents."""
    used = {*store.where, *(rule.source for rule in store.metafields.values() if rule.policy != "ignore")}
    for rule in store.consent.rules.values():
        used |= {rule.source, rule.at or rule.source}
    return used


def _has(profile: Profile, path: str) -> bool:
    head = path.split(".", maxsplit=1)[0]
    return head == "clerk_user_id" or profile.knows(head)


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return _EXPONENT.sub(lambda found: found[0] if found[0][0] == '"' else f"{Decimal(found[0]):f}", text)


def _unreadable(profile: Profile, field: str) -> bool:
    return bool(profile.problems) and any(p.field == field for p in profile.problems)


def matches(profile: Profile, path: str, rule: object) -> bool | None:
    """Whether the value at this path matches a rule of `where`; None where the column can't be read."""
    if _unreadable(profile, path.split(".", maxsplit=1)[0]):
        return None
    value = profile.value_at(path)
    options = rule if isinstance(rule, (list, tuple)) else [rule]
    values = value if isinstance(value, (list, tuple)) else [value]
    return any(_same(v, option) for v in values for option in options)


def _same(value: object, option: object) -> bool:
    if isinstance(value, bool) and isinstance(option, str):
        return option.lower() in _WORDS[value]  # YAML 1.2 reads `yes` as text
    if isinstance(value, bool) or isinstance(option, bool) or value is None or option is None:
        return value is option or (isinstance(value, str) and value.lower() == str(option).lower())
    return bool(value == option) or str(value) == str(option) or _composed(value) == _composed(option)


def _composed(value: object) -> str:
    """The value as text in Unicode form NFC, so that composed and decomposed accents are equal."""
    return unicodedata.normalize("NFC", str(value))
