"""Guesses which table holds the profiles, and which of its columns mean what, with the reason for each guess.

Names of the usual starters, as their documentation and templates have them (read 2026-11-30): Clerk's and Supabase's
(`clerk_user_id`, `clerk_id`, `avatar_url`, `raw_user_meta_data`), Prisma's and Drizzle's (`clerkId`, `emailAddress`,
`imageUrl`, `updatedAt`; Prisma names tables `User`). The values decide where names could mean two things.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from reconciler.core.model.frozen import frozen
from reconciler.core.model.scalars import FIELDS
from reconciler.supabase.checks.overview import ColumnSeen, TableSeen

USER_ID: Final = re.compile(r"user_[A-Za-z0-9]{5,}")
USER_ID_WORDS: Final = "user_ and at least five letters or digits"
EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
FLAG: Final = re.compile(r"t|f|true|false|yes|no|verified|unverified|failed|expired", re.IGNORECASE)
MOST: Final = 0.8  # the share of sampled values that must look right
TABLES: Final = ("customers", "profiles", "users", "user_profiles", "user", "accounts", "members", "people")
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "clerk_user_id": ("clerk_user_id", "clerk_id", "clerk_uid", "clerk", "external_id", "user_id", "auth_id", "id"),
    **{name: (name, *field.columns) for name, field in FIELDS.items()},
    "email_verified": ("email_verified", "is_email_verified", "email_is_verified", "email_confirmed", "verified"),
    "full_name": ("full_name", "fullname", "display_name", "name"),
    "image_url": ("image_url", "avatar_url", "avatar", "profile_image_url", "picture", "photo_url", "image"),
    "updated_at": ("updated_at", "modified_at", "last_modified_at", "updated", "changed_at"),
    "deleted_at": ("deleted_at", "removed_at"),
    "metadata": ("metadata", "public_metadata", "user_metadata", "raw_user_meta_data", "attributes"),
}


@frozen
class Guess:
    """A column for one of our fields, and why it was chosen."""

    column: str
    why: str


@frozen
class TableGuess:
    """A table, the columns that were found for our fields, and for other fields the reason why none was."""

    table: str
    columns: Mapping[str, Guess]
    missing: Mapping[str, str]

    @property
    def score(self) -> tuple[bool, int, int]:
        """Better guesses are greater: a key, then the number of columns, then the usual name."""
        bare = snake_case(self.table.rpartition(".")[2])
        return (
            "clerk_user_id" in self.columns,
            len(self.columns),
            -TABLES.index(bare) if bare in TABLES else -len(TABLES),
        )


def snake_case(name: str) -> str:
    """`emailAddress`, `Email_Address` and `emailaddress` in one spelling, as far as case tells the words apart."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def guess_columns(table: TableSeen) -> TableGuess:
    """The columns of this table for our fields."""
    columns: dict[str, Guess] = {}
    missing: dict[str, str] = {}
    taken: set[str] = set()
    for field, names in NAMES.items():
        fits, what = FITS.get(field, _FITS_TEXT)
        named = [c for name in names for c in table.columns if snake_case(c.name) == name and c.name not in taken]
        found = next((c for c in named if fits(c)), None)
        if found is None and field == "clerk_user_id":
            found = next((c for c in table.columns if _most(c.values, USER_ID)), None)
        if found is not None:
            columns[field] = Guess(found.name, _why(field, found))
            taken.add(found.name)
        elif named:
            missing[field] = f"{named[0].name} is {named[0].type}, not {what}"
        else:
            missing[field] = "no column has one of the usual names"
    if {"first_name", "last_name"} & set(columns) and "full_name" in columns:
        del columns["full_name"]
        missing["full_name"] = "first_name and last_name are there"
    elif "full_name" in columns:
        for field in ("first_name", "last_name"):
            missing[field] = "full_name is used"
    return TableGuess(table.name, columns, missing)


def best_table(tables: Iterable[TableSeen]) -> TableGuess | None:
    """The table that is most likely the one of the profiles; None if no table has a column for the Clerk user id."""
    best = max(map(guess_columns, tables), key=lambda guess: guess.score, default=None)
    return best if best is not None and "clerk_user_id" in best.columns else None


def likely_first(names: Sequence[str]) -> list[str]:
    """The names of tables, the usual ones for users first."""

    def rank(name: str) -> tuple[int, str]:
        bare = snake_case(name.rpartition(".")[2])
        return TABLES.index(bare) if bare in TABLES else len(TABLES), name

    return sorted(names, key=rank)


def _why(field: str, column: ColumnSeen) -> str:
    if field == "clerk_user_id" and _most(column.values, USER_ID):
        return "its values begin with user_"
    if field == "email" and _most(column.values, EMAIL):
        return "its values are emails"
    return f"its name, and its type {column.type}"


def _most(values: Sequence[str], pattern: re.Pattern[str]) -> bool:
    return bool(values) and sum(pattern.fullmatch(v) is not None for v in values) >= MOST * len(values)


def _is_text(column: ColumnSeen) -> bool:
    return not column.values or not re.match(r"bool|bytea|json|timestamp|date|time", column.type)


def _is_key(column: ColumnSeen) -> bool:
    """Whether it holds Clerk's ids; without rows a name that says so counts, and `id` or `user_id` does not."""
    if column.values:
        return _most(column.values, USER_ID)
    return "clerk" in snake_case(column.name) and not re.match(r"int|bigint|serial|uuid", column.type)


def _is_email(column: ColumnSeen) -> bool:
    return not column.values or _most(column.values, EMAIL)


def _is_flag(column: ColumnSeen) -> bool:
    return bool(re.match(r"bool|int|smallint|tinyint", column.type)) or _most(column.values, FLAG)


def _is_time(column: ColumnSeen) -> bool:
    dated = re.compile(r"\d{4}-\d\d-\d\d.*")
    return bool(re.match(r"timestamp|date", column.type)) or _most(column.values, dated)


def _is_object(column: ColumnSeen) -> bool:
    return column.type.startswith("json") or _most(column.values, re.compile(r"\s*\{.*\}\s*", re.DOTALL))


_FITS_TEXT: tuple[Callable[[ColumnSeen], bool], str] = (_is_text, "text")
FITS: Final[Mapping[str, tuple[Callable[[ColumnSeen], bool], str]]] = {
    "clerk_user_id": (_is_key, f"a Clerk user id ({USER_ID_WORDS})"),
    "email": (_is_email, "an email"),
    "email_verified": (_is_flag, "a yes or no"),
    "updated_at": (_is_time, "a time"),
    "deleted_at": (_is_time, "a time"),
    "metadata": (_is_object, "a JSON object"),
}
"""How a field's column is recognised by type and values, and what it should be, in words."""
