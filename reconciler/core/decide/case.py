"""Case: the input of a decision about one user."""

from __future__ import annotations

from datetime import datetime

from reconciler.core.fields import normalise
from reconciler.core.model.customer import Customer
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, Unique
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.spec import Spec
from reconciler.core.model.store import Store
from reconciler.core.model.view import Taken, View


@frozen
class Case:
    """The input of one decision. `insists`: an operator applies to this very user."""

    user: ClerkUserId
    profile: Profile
    mapping: Mapping | None
    view: View
    store: Store
    spec: Spec
    now: datetime
    insists: bool = False

    @property
    def joint_claim(self) -> Taken:
        """The email of the user, which other users also claim."""
        return Taken(field="email", key=self._wanted_key("email"))

    def taken(self, field: Unique, other: Customer, owner: str | None) -> Taken:
        """The value of this field that the user should have and the other customer has."""
        named = ClerkUserId(owner) if owner is not None and owner != self.user else None
        return Taken(field=field, key=self._wanted_key(field), owner=named, customer_id=other.id)

    def _wanted_key(self, field: Unique) -> str:
        if field == "email":
            return normalise.email_key(self.spec.value("email") or self.spec.lookup_email) or ""
        return normalise.phone_key(self.spec.value("phone")) or ""
