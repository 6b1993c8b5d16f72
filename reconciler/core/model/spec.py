"""Spec: the customer fields that we manage, as they should be."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from reconciler.core.model.store import Policy


class WantedField(BaseModel):
    """One field as it should be (None: the profile says there is none), by which policy, and the digest of its rule."""

    model_config = ConfigDict(frozen=True)

    value: str | None
    policy: Policy
    config: str
    type: str = ""


class Doubt(BaseModel):
    """A field that the profile can't give us: the reason of the hold and what to say."""

    model_config = ConfigDict(frozen=True)

    field: str
    reason: str
    message: str


class Spec(BaseModel):
    """What one user's customer should be in one store. A field that is missing here is none of our business now.

    `lookup_email` is the address by which an existing customer may be found and taken; None where it must not be.
    """

    model_config = ConfigDict(frozen=True)

    fields: Mapping[str, WantedField] = Field(default_factory=dict)
    tags: tuple[str, ...] = ()
    tags_config: str = ""
    lookup_email: str | None = None
    doubts: tuple[Doubt, ...] = ()

    def value(self, field: str) -> str | None:
        """The value that should be there; None where there is none or we don't know."""
        wanted = self.fields.get(field)
        return wanted.value if wanted else None
