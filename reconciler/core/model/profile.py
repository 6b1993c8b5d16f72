"""Profile: one row of the profiles table, independent of any shop."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from reconciler.core.model.ids import ClerkUserId

PROFILE_FIELDS = (
    "email",
    "email_verified",
    "first_name",
    "last_name",
    "phone",
    "image_url",
    "locale",
    "note",
    "updated_at",
    "deleted_at",
    "metadata",
)


class Problem(BaseModel):
    """A column that could not be parsed: which of our fields, and why (without its value)."""

    model_config = ConfigDict(frozen=True)

    field: str
    message: str


class Profile(BaseModel):
    """One row of the profiles table, parsed.

    `mapped` names the fields that the table has. A field outside it is *absent* (its value is unknown); a field inside
    it that is None is *null* (there is no value). `problems` are columns that could not be parsed: their fields are
    None here and count as unknown, never as null.
    """

    model_config = ConfigDict(frozen=True)

    clerk_user_id: ClerkUserId
    mapped: frozenset[str] = frozenset(PROFILE_FIELDS)
    email: str | None = None
    email_verified: bool | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    image_url: str | None = None
    locale: str | None = None
    note: str | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    deleted: bool = False
    metadata: Mapping[str, Any] | None = None
    problems: tuple[Problem, ...] = ()

    def knows(self, field: str) -> bool:
        """Whether the value of this field is known: its column is mapped and was parsed."""
        return field in self.mapped and all(p.field != field for p in self.problems)

    def value_at(self, path: str) -> Any:
        """The value at a path such as `first_name` or `metadata.a.b`; None where there is none."""
        head, *rest = path.split(".")
        value: Any = getattr(self, head, None)
        for key in rest:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value
