"""The policy of a store as a document, as the state keeps it; and a store with the policy that it had.

Switches are no part of it, since an operator's `paused` or guard counts immediately: `guards`, `accept`, `heal_drift`,
`roll_out`, `paused`. Secrets and addresses are no part of a policy at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Final

from pydantic import JsonValue, ValidationError

from reconciler.core.fields.desired import digest
from reconciler.core.model.rollout import PolicyDifference
from reconciler.core.model.store import HeldBack, PolicyChange, StoreT
from reconciler.core.model.store import Store as AnyStore

KEYS: Final = tuple(name for name in PolicyChange.__annotations__ if name != "trust_email")
TRUST, COLUMNS = "trust_email", "columns"


def has_waves(stores: Iterable[AnyStore]) -> bool:
    """Whether these stores are in several waves. In one wave, the policies of stores.yaml are in force everywhere."""
    return len({store.wave for store in stores}) > 1


def policy_document(store: AnyStore, columns: Mapping[str, str]) -> dict[str, JsonValue]:
    """The policy of this store with the mapping of columns that it is read by."""
    body: dict[str, JsonValue] = store.model_dump(mode="json", by_alias=True, include=set(KEYS))
    return {**body, TRUST: store.trust_email, COLUMNS: dict(columns)}


def policy_digest(store: AnyStore, columns: Mapping[str, str]) -> str:
    """The digest of the policy."""
    return digest(policy_document(store, columns))


def columns_of(policy: Mapping[str, JsonValue]) -> dict[str, str] | None:
    """The mapping of columns in a kept policy; None where there is none."""
    columns = policy.get(COLUMNS)
    if not isinstance(columns, Mapping):
        return None
    return {str(ours): str(theirs) for ours, theirs in columns.items()}


def policy_differences(before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> tuple[PolicyDifference, ...]:
    """The keys in which two policies differ, sorted. Lists are compared as a whole.

    Costs a millisecond, and the first call more than a hundred.
    """
    from deepdiff import DeepDiff  # noqa: PLC0415  seldom needed, and long to import

    found = DeepDiff(before, after, view="tree", threshold_to_diff_deeper=0)
    paths = {_key_path(each.path(output_format="list")) for kind in found.values() for each in kind}
    return tuple(
        PolicyDifference(key=".".join(path), before=_value_at(before, path), after=_value_at(after, path))
        for path in sorted(paths)
    )


def _key_path(path: Iterable[str | int]) -> tuple[str, ...]:
    """The keys of a path, up to the first index of a list."""
    return tuple(str(part) for part in takewhile(lambda part: not isinstance(part, int), path))


def _value_at(policy: Mapping[str, JsonValue], path: tuple[str, ...]) -> JsonValue:
    value: JsonValue = dict(policy)
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def with_policy(store: StoreT, policy: Mapping[str, JsonValue]) -> StoreT | None:
    """The store with a kept policy and with its own switches; None where this version can't read the policy."""
    body = {name: value for name, value in policy.items() if name != COLUMNS}
    if columns_of(policy) is None or TRUST not in body:
        return None
    try:
        kept = AnyStore.model_validate({**body, "name": store.name, "shop": store.shop})
    except ValidationError:
        return None
    return store.changed(
        where=kept.where,
        backlink=kept.backlink,
        fields=kept.fields,
        tags=kept.tags,
        metafields=kept.metafields,
        consent=kept.consent,
        country=kept.country,
        require_email=kept.require_email,
        on_leave=kept.on_leave,
        leave_tag=kept.leave_tag,
        on_email_conflict=kept.on_email_conflict,
        on_missing=kept.on_missing,
        trust_email=kept.trust_email,
    )


def kept_document(store: AnyStore, policy: Mapping[str, JsonValue] | None) -> dict[str, JsonValue] | None:
    """A kept policy as this version reads it; None where there is none, or it can't be read."""
    kept = with_policy(store, policy) if policy else None
    columns = columns_of(policy) if policy else None
    return policy_document(kept, columns) if kept is not None and columns is not None else None


def kept_digest(store: AnyStore, policy: Mapping[str, JsonValue] | None) -> str | None:
    """The digest of `kept_document`."""
    kept = kept_document(store, policy)
    return digest(kept) if kept is not None else None


def holding_back(store: StoreT, policy: Mapping[str, JsonValue] | None, words: str) -> StoreT:
    """The store as it stays until its wave: with the policy that it had, or with everything held where that is not known.

    `words`: why the policy of stores.yaml waits.
    """
    kept = with_policy(store, policy) if policy else None
    if kept is None or policy is None:
        return store.held_back_by(HeldBack(words))
    return kept.held_back_by(HeldBack(words, target=store, columns=columns_of(policy)))
