"""Profile: one row of the profiles table, independent of any shop."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.scalars import SCALARS, Scalars

PROFILE_FIELDS: Final = (*SCALARS, "email_verified", "image_url", "updated_at", "deleted_at", "metadata")


@frozen(kw_only=True)
class Problem:
    """A column that could not be parsed: which of our fields, and why (without its value)."""

    field: str
    message: str


class Profile(Scalars):
    """One row of the profiles table, parsed.

    `mapped` names the fields that the table has. A field outside it is *absent* (its value is unknown); a field inside
    it that is None is *null* (there is no value). `problems` are columns that could not be parsed: their fields are
    None here and count as unknown, never as null. `may_lag`: read from a standby, which may show an earlier row.
    """

    clerk_user_id: ClerkUserId
    mapped: frozenset[str] = frozenset(PROFILE_FIELDS)
    email_verified: bool | None = None
    image_url: str | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    deleted: bool = False
    metadata: Mapping[str, object] | None = None
    problems: tuple[Problem, ...] = ()
    may_lag: bool = False

    def knows(self, field: str) -> bool:
        """Whether the value of this field is known: its column is mapped and was parsed."""
        return field in self.mapped and (not self.problems or all(p.field != field for p in self.problems))

    def value_at(self, path: str) -> object:
        """The value at a path such as `first_name` or `metadata.a.b`; None where there is none."""
        head, *rest = path.split(".")
        value: object = getattr(self, head, None)
        for key in rest:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value
