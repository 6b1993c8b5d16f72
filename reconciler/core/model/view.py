"""View: what was observed for one user in one shop; and Decision: what follows from it."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import field
from datetime import datetime

from reconciler.core.model.action import AcceptedDrift, Action, Hold
from reconciler.core.model.consent import Judged
from reconciler.core.model.customer import Customer
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId, Unique
from reconciler.core.model.mapping import Applied, Heal, Mapping, Status
from reconciler.core.model.profile import Profile
from reconciler.core.model.spec import Spec


@frozen
class Subject:
    """One user to decide about: the id, the profile (None: no row) and the mapping (None: new in this shop).

    `row_fp` is the fingerprint of the row of `profile`, where it is known. `stored` is the mapping as it was read,
    where `mapping` also includes a write that was sent and never recorded.
    """

    user: ClerkUserId
    profile: Profile | None
    mapping: Mapping | None
    row_fp: int | None = None
    stored: Mapping | None = None

    @property
    def read(self) -> Mapping | None:
        """The mapping as it was read from the state, for conditional writes."""
        return self.stored if self.stored is not None else self.mapping

    @property
    def parked_values(self) -> dict[str, str]:
        """The values that were cleared temporarily on the customer, by field."""
        return self.mapping.parked_values if self.mapping is not None else {}


@frozen(kw_only=True)
class Rival:
    """Another user who claims the same email in this store, and whether they have a customer here."""

    clerk_user_id: ClerkUserId
    mapped: bool


@frozen(kw_only=True)
class View:
    """The customers that were found for one user. None: not found, or not searched.

    `owners` are users by our mappings. `rivals` claim the same email: all of a few, and of many a few with a customer and
    a few without. `formers` are owners who have left, with their mappings: their customers are
    free for a user with the same verified email. `claimants` are users without a customer who claim the email of the
    customer of this leaving user; a single one is the `successor`, who may adopt the customer. `merge_blockers` are
    Shopify's objections to merging the user's customer with `by_email` (None: not requested). `assigned_to` is the
    customer that an operator assigned to the user, `assigned` that customer where it exists. `former_link` names the
    metafield of the back-link before a change of the config, where it still holds this user's id on the mapped
    customer. `taken_for` is the user with the customer that the shop returns for this user's back-link. `former_consents`
    are the last consents of users who had this user's email and left, where the user has none.
    """

    by_backlink: Customer | None = None
    taken_for: str | None = None
    mapped: Customer | None = None
    by_email: Customer | None = None
    by_phone: Customer | None = None
    owners: MappingOf[CustomerId, ClerkUserId] = field(default_factory=dict)
    rivals: tuple[Rival, ...] = ()
    merge_blockers: tuple[str, ...] | None = None
    former_link: str | None = None
    formers: MappingOf[ClerkUserId, Mapping] = field(default_factory=dict)
    claimants: tuple[ClerkUserId, ...] = ()
    assigned_to: CustomerId | None = None
    assigned: Customer | None = None
    former_consents: MappingOf[str, Applied] = field(default_factory=dict)

    @property
    def successor(self) -> ClerkUserId | None:
        """The user who may adopt the customer of this leaving user; None where there is none, or several."""
        return self.claimants[0] if len(self.claimants) == 1 else None

    def owner(self, customer: Customer) -> str | None:
        """The user of this customer, by its back-link, else by our mappings; None where it has no user."""
        return customer.backlink or self.owners.get(customer.id)

    def former(self, customer: Customer) -> Mapping | None:
        """The mapping of the user who had this customer and has left; None where there is no such user."""
        owner = self.owner(customer)
        return self.formers.get(ClerkUserId(owner)) if owner is not None else None


@frozen(kw_only=True)
class Taken:
    """A value that the user should have and another customer still has.

    `key` is as in core/plan/chains.py. `owner` is the user of that customer, who may give the value up; None where it
    has no user, or where users without a customer claim one email.
    """

    field: Unique
    key: str
    owner: ClerkUserId | None = None
    customer_id: CustomerId | None = None

    @property
    def place(self) -> str:
        """The field and customer of the value. It becomes free when that customer gets another value."""
        return place_of(self.field, self.customer_id)


def place_of(field: str, customer_id: CustomerId | None) -> str:
    """A field of a customer as one string."""
    return f"{field} of {customer_id}"


@frozen(kw_only=True)
class Decision:
    """The action and the holds for one user in one store, and what the mapping records if no action is executed.

    `customer` is the user's customer, None where there is none. `status` None: no mapping row is needed. `taken`:
    values that another customer still has; if it gives them up first, the decision changes (core/plan/chains.py).
    `target`: the customer of the user after a re-link or merge. `accepted`: drift that is accepted for now.
    `contests`: fields that others change back, when and to what. `absent_since`: when the profile row was first found
    absent, while that is no proof that the user has left. `inherited`: the last-applied fields of a former user of the
    customer that is adopted. `successor`: the user who adopts the customer of this user, who has left or is leaving.
    `lost`: the back-link of the mapped customer names another user, so that the mapping gives the customer up. `sent`:
    email and phone of `customer` as we sent them, where Shopify returns another spelling. `mapped_stays`: the mapped
    customer still exists, although `customer` is another one. `unparkable`: fields that Shopify refused to clear
    temporarily on `customer`, with its messages. `consents`: the decision about each consent that the store manages.
    """

    clerk_user_id: ClerkUserId
    action: Action | None = None
    holds: tuple[Hold, ...] = ()
    customer: Customer | None = None
    target: Customer | None = None
    spec: Spec | None = None
    status: Status | None = None
    taken: tuple[Taken, ...] = ()
    accepted: tuple[AcceptedDrift, ...] = ()
    contests: tuple[tuple[str, tuple[Heal, ...]], ...] = ()
    absent_since: datetime | None = None
    lost: bool = False
    inherited: MappingOf[str, Applied] = field(default_factory=dict)
    successor: ClerkUserId | None = None
    sent: MappingOf[str, str] = field(default_factory=dict)
    mapped_stays: bool = False
    unparkable: MappingOf[Unique, str] = field(default_factory=dict)
    consents: tuple[Judged, ...] = ()

    @property
    def absent(self) -> bool:
        """Whether the profile row is missing or does not match `where`, which is no proof yet that the user has left."""
        return self.absent_since is not None

    def value(self, field: Unique) -> str | None:
        """The email or phone of `customer`; as we sent it, where Shopify is known to return another spelling."""
        shown: str | None = getattr(self.customer, field) if self.customer is not None else None
        return self.sent.get(field, shown) if shown is not None else None
