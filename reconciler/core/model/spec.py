"""Spec: the customer fields that we manage, as they should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from reconciler.core.model.consent import Channel, Said
from reconciler.core.model.frozen import frozen
from reconciler.core.model.scalars import Policy


@frozen(kw_only=True)
class WantedField:
    """One field as it should be (None: the profile has no value), its policy, and the digest of its rule."""

    value: str | None
    policy: Policy
    config: str
    type: str = ""


@frozen(kw_only=True)
class Doubt:
    """A field that can't be derived from the profile: the reason and the message of its hold."""

    field: str
    reason: str
    message: str


@frozen(kw_only=True)
class Spec:
    """The fields of one user's customer in one store, as they should be. A field that is missing here is not managed.

    `consents` are those that the store manages, as the profile states them.
    `lookup_email` is the address by which an existing customer may be found and adopted; None where that is forbidden.
    """

    fields: Mapping[str, WantedField] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    tags_config: str = ""
    lookup_email: str | None = None
    doubts: tuple[Doubt, ...] = ()
    consents: Mapping[Channel, Said] = field(default_factory=dict)

    def value(self, name: str) -> str | None:
        """The value that the field should have; None where there is none or it is unknown."""
        wanted = self.fields.get(name)
        return wanted.value if wanted else None
