"""Merge users with a refused profile row into lists of mappings: most of these users have no mapping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge

from reconciler.core.decide.profile_rows.write import RefusedWrite, shown_mapping
from reconciler.core.fields import normalise
from reconciler.core.fields.people import full_name, name_key, name_words, without_accents
from reconciler.core.model.mapping import Mapping, Status
from reconciler.ports import MappingReader
from reconciler.settings import StoreSettings


def with_refused_users(
    rows: Iterable[Mapping], store: StoreSettings, refused: Sequence[RefusedWrite]
) -> Iterator[Mapping]:
    """Yield a store's mappings in the order of users, each with its refusal, and those of users without a mapping."""
    left = {one.user: one for one in refused if one.concerns(store)}
    waiting = sorted(left)

    def shown() -> Iterator[Mapping]:
        at = 0
        for row in rows:
            while at < len(waiting) and waiting[at] < row.clerk_user_id:
                yield shown_mapping(store, left[waiting[at]], None)
                at += 1
            if at < len(waiting) and waiting[at] == row.clerk_user_id:
                yield shown_mapping(store, left[waiting[at]], row)
                at += 1
            else:
                yield row
        for user in waiting[at:]:
            yield shown_mapping(store, left[user], None)

    return shown()


def merge_refused(
    found: Sequence[Mapping],
    stores: Sequence[StoreSettings],
    refused: Iterable[RefusedWrite],
    mappings: MappingReader,
    text: str,
    *,
    status: Status | None,
    reason: str | None,
) -> list[Mapping]:
    """Return the mappings that were found, together with the refused users that match the same query."""
    refused = [one for one in refused if _is_meant(one, text)]
    made: list[Mapping] = []
    kept = {(row.shop, row.clerk_user_id): row for row in found}
    for store in stores:
        concerned = [one for one in refused if one.concerns(store)]
        there = mappings.get(store.shop, [one.user for one in concerned])
        for one in concerned:
            shown = shown_mapping(store, one, there.get(one.user))
            fits = status in {None, shown.status} and reason in {None, shown.reason}
            kept.pop((store.shop, one.user), None)
            made += [shown] if fits else []
    return list(merge(sorted(kept.values(), key=_place), sorted(made, key=_place), key=_place))


def _is_meant(refused: RefusedWrite, text: str) -> bool:
    words = text.strip()
    if refused.user.startswith(words):
        return True
    profile, parts = refused.profile, name_words(text)
    name = without_accents(name_key(full_name(profile))) if profile is not None else ""
    if parts and all(without_accents(part) in name for part in parts):
        return True
    return bool(refused.email_key and refused.email_key.startswith(normalise.email_key(words) or " "))


def _place(row: Mapping) -> tuple[str, str]:
    return row.clerk_user_id, row.shop
