"""Raw rows of the profiles in chunks, so that a Profile is built only for rows that have changed.

A hot loop over whole tables: it uses the driver's tuples, without SQLAlchemy objects and pydantic.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any

from reconciler.core.fields.fingerprint import row_fingerprinter
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.supabase.reading.rows import profile_of, unusable
from reconciler.supabase.reading.table import ProfileTable

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Chunk:
    """ports.RowChunk: rows of one table, in key order."""

    table: ProfileTable
    rows: Sequence[Row]

    def fingerprints(self) -> Mapping[ClerkUserId, int | None]:
        return self._by_key

    @cached_property
    def _by_key(self) -> dict[Any, int | None]:
        rows = self.rows
        at = self._updated_at
        number = row_fingerprinter(column_types_of(self.table))
        found: dict[Any, int | None]
        if at is None:
            found = {row[0]: number(row) for row in rows}
        else:
            found = {row[0]: number(row[:at] + row[at + 1 :]) for row in rows}
        if len(found) == len(rows) and all(type(key) is str for key in found):
            return found
        counts = {key: sum(1 for _ in group) for key, group in groupby(rows, key=itemgetter(0))}
        return {key: fp if counts[key] == 1 else None for key, fp in found.items() if isinstance(key, str)}

    @property
    def _updated_at(self) -> int | None:
        """The index of `updated_at` in a row. It is not part of the fingerprint: a new time alone is no change."""
        fields = self.table.fields
        return fields.index("updated_at") + 1 if "updated_at" in fields else None

    def odd(self) -> list[Profile]:
        return list(profiles_of(self.table, [row for row in self.rows if not isinstance(row[0], str)]))

    def profiles(self, users: Collection[ClerkUserId] | None = None) -> Iterator[tuple[Profile, int | None]]:
        rows = self.rows if users is None else [row for row in self.rows if row[0] in users]
        for profile in profiles_of(self.table, rows):
            yield profile, self._by_key.get(profile.clerk_user_id)


def column_types_of(table: ProfileTable) -> str:
    """The columns and their types as text, which changes if rows must be read differently."""
    kinds = ",".join(f"{field}={column.name}:{column.type_name}" for field, column in table.columns.items())
    return f"{table.schema or ''}.{table.name}({kinds})"


def profiles_of(table: ProfileTable, rows: Iterable[Sequence[Any]]) -> Iterator[Profile]:
    """One profile for each key; rows of one key must be adjacent."""
    for key, group in groupby(rows, key=itemgetter(0)):
        first = next(group)
        more = sum(1 for _ in group)  # noqa: B031  counts the rest of the group without storing it
        profile = profile_of(key, table.values(first), may_lag=table.is_standby)
        if more:
            yield unusable(profile.clerk_user_id, profile.mapped, f"{more + 1} rows have this key: only one may")
        else:
            yield profile
