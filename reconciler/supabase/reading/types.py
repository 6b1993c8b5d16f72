"""Which types of Postgres can hold which of our fields. Values in a column of another type are unreadable.

It uses the type's kind and category in pg_type, which cover domains, enums, citext and types of extensions.
"""

from __future__ import annotations

from typing import Final, Protocol

from reconciler.supabase.reading.rows import Misfit

_TEXT: Final = "S"
_TIMES: Final = frozenset({"timestamptz", "timestamp", "date"})
_JSON: Final = frozenset({"json", "jsonb"})
_CATEGORIES: Final = {  # of pg_type.typcategory; enums and uuid count as text
    "email_verified": frozenset({_TEXT, "B", "N"}),
    "updated_at": frozenset({_TEXT, "N"}),
    "deleted_at": frozenset({_TEXT, "B", "N"}),
}
_WITH_TIMES: Final = frozenset({"email_verified", "updated_at", "deleted_at"})
_KINDS: Final = {"c": "a composite type", "r": "a range", "m": "a range", "p": "a record"}
_FAMILIES: Final = {
    "A": "an array", "B": "a yes or no", "C": "a composite type", "D": "a time", "G": "a geometric type", "N": "a number",
    "R": "a range", "T": "an interval", "V": "a bit string",
}  # fmt: skip
_WANTED: Final = {
    "email_verified": "a boolean", "updated_at": "a timestamp", "deleted_at": "a timestamp or boolean", "metadata": "jsonb",
}  # fmt: skip


class TypedColumn(Protocol):
    """A column and its type. `family` is pg_type's typtype and typcategory; empty on SQLite."""

    @property
    def name(self) -> str: ...

    @property
    def type_name(self) -> str: ...

    @property
    def family(self) -> str: ...

    @property
    def shown(self) -> str: ...


def can_be_key(column: TypedColumn) -> bool:
    """Whether values of this column can be user ids: text, numbers or UUIDs."""
    if not column.family:
        return True
    kind, category = column.family[0], column.family[1]
    return kind == "e" or (kind == "b" and (category in {_TEXT, "N"} or column.type_name == "uuid"))


def misfit(field: str, column: TypedColumn) -> Misfit | None:
    """Why values of this column can't be this field; None if they can."""
    if not column.family or _fits(field, column):
        return None
    wanted = _WANTED.get(field, "text")
    what = _KINDS.get(column.family[0]) or _FAMILIES.get(column.family[1])
    kind = f", {what}" if what else ""
    return Misfit(
        f"is mapped to the column {column.name} of type {column.shown}{kind}: map a column of {wanted}, "
        f"or a view that converts it to {wanted}"
    )


def _fits(field: str, column: TypedColumn) -> bool:
    kind, category = column.family[0], column.family[1]
    if kind not in {"b", "e"}:
        return False
    if field == "metadata":
        return column.type_name in _JSON or category == _TEXT
    if field in _WITH_TIMES and column.type_name in _TIMES:
        return True
    return kind == "e" or column.type_name == "uuid" or category in _CATEGORIES.get(field, {_TEXT})
