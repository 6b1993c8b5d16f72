"""Spec: the customer fields that we manage, as they should be."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from reconciler.core.model.scalars import Policy


class WantedField(BaseModel):
    """One field as it should be (None: the profile has no value), its policy, and the digest of its rule."""

    model_config = ConfigDict(frozen=True)

    value: str | None
    policy: Policy
    config: str
    type: str = ""


class Doubt(BaseModel):
    """A field that can't be derived from the profile: the reason and the message of its hold."""

    model_config = ConfigDict(frozen=True)

    field: str
    reason: str
    message: str


class Spec(BaseModel):
    """The fields of one user's customer in one store, as they should be. A field that is missing here is not managed.

    `lookup_email` is the address by which an existing customer may be found and adopted; None where that is forbidden.
    """

    model_config = ConfigDict(frozen=True)

    fields: Mapping[str, WantedField] = Field(default_factory=dict)
    tags: tuple[str, ...] = ()
    tags_config: str = ""
    lookup_email: str | None = None
    doubts: tuple[Doubt, ...] = ()

    def value(self, field: str) -> str | None:
        """The value that the field should have; None where there is none or it is unknown."""
        wanted = self.fields.get(field)
        return wanted.value if wanted else None
