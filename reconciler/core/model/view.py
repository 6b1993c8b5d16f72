"""View: what the looking half saw of one user in one shop, and what was decided on it. Values only."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from reconciler.core.model.action import Action, Hold
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId, CustomerId, Unique
from reconciler.core.model.mapping import Applied, Heal, Mapping, Status
from reconciler.core.model.profile import Profile
from reconciler.core.model.spec import Spec


@dataclass(frozen=True, slots=True)
class Subject:
    """One user to look at: her name, her row (None: gone) and her mapping (None: never seen in this shop).

    `row_fp` is the fingerprint of the very row that `profile` was made of, where that is known. `stored` is the mapping as
    it was read, where `mapping` says more: of a write that was sent and never recorded.
    """

    user: ClerkUserId
    profile: Profile | None
    mapping: Mapping | None
    row_fp: int | None = None
    stored: Mapping | None = None

    @property
    def read(self) -> Mapping | None:
        """The mapping as it was read from the state: what a conditional write compares with."""
        return self.stored if self.stored is not None else self.mapping

    @property
    def parked(self) -> dict[str, str]:
        """The values that the customer is without for a moment, by field."""
        return self.mapping.parked if self.mapping is not None else {}


class Rival(BaseModel):
    """Another user of ours who claims the same e-mail in this store, and whether she has a customer here."""

    model_config = ConfigDict(frozen=True)

    clerk_user_id: ClerkUserId
    mapped: bool


class View(BaseModel):
    """None: looked for, and not there (or no reason to look).

    `owners` are users by our mappings. `formers` are owners who have left, with their mappings: their customers are free for
    a user with the same verified e-mail. `heirs` claim the e-mail of the customer of this user, who leaves, and have none:
    one alone is the `successor`, who may adopt it.
    `merge_blockers` is what Shopify says against merging the user's customer with `by_email` (None: it was not asked).
    `assigned_to` is the customer that an operator names for the user, `assigned` that customer where it is there.
    `former_link` names the metafield that carried the back-link before the config named another, where it still holds this
    user's id on the mapped customer.
    """

    model_config = ConfigDict(frozen=True)

    by_backlink: Customer | None = None
    mapped: Customer | None = None
    by_email: Customer | None = None
    by_phone: Customer | None = None
    owners: MappingOf[CustomerId, ClerkUserId] = Field(default_factory=dict)
    rivals: tuple[Rival, ...] = ()
    merge_blockers: tuple[str, ...] | None = None
    former_link: str | None = None
    formers: MappingOf[ClerkUserId, Mapping] = Field(default_factory=dict)
    heirs: tuple[ClerkUserId, ...] = ()
    assigned_to: CustomerId | None = None
    assigned: Customer | None = None

    @property
    def successor(self) -> ClerkUserId | None:
        """Who may adopt the customer of this user, who leaves; None where there is none, or several."""
        return self.heirs[0] if len(self.heirs) == 1 else None

    def owner(self, customer: Customer) -> str | None:
        """Whose customer this is: by its back-link, else by our mappings; None for nobody's."""
        return customer.backlink or self.owners.get(customer.id)

    def former(self, customer: Customer) -> Mapping | None:
        """The mapping of the user who had this customer and has left; None where it is another's, or nobody's."""
        owner = self.owner(customer)
        return self.formers.get(ClerkUserId(owner)) if owner is not None else None


class Taken(BaseModel):
    """A value that the user should have and another customer has: its key, and whose customer that is, where it is known.

    `key` is as in core/plan/chains.py. `owner` is another of our users, who may give it up; None where no user has it, or
    where users without a customer claim one e-mail.
    """

    model_config = ConfigDict(frozen=True)

    field: Unique
    key: str
    owner: ClerkUserId | None = None
    customer_id: CustomerId | None = None

    @property
    def place(self) -> str:
        """Where the value is: it becomes free when that customer gets another one, however the shop spells it."""
        return place_of(self.field, self.customer_id)


def place_of(field: str, customer_id: CustomerId | None) -> str:
    """A field of a customer, as one text."""
    return f"{field} of {customer_id}"


class Decision(BaseModel):
    """What is to be done for one user in one store, and what the state should say of it if nothing is done.

    `customer` is whom the user is on, None where nobody is known; `status` None means: no row is needed. `taken` are
    values that another customer still has: where it gives them up first, the decision is another (core/plan/chains.py).
    `target` is the customer that a re-link or merge ends on. `accepted` are drifted fields that the config agrees to,
    `contests` those that others change back, with when and to what. `missing_since`: when the profile row was first seen
    missing, which proves nothing yet. `inherited` is what a former user's mapping agreed on with the customer that is
    adopted, `successor` who adopts the customer of this user, who has left or is about to. `lost`: the mapped customer
    is another user's by its back-link, so that the row gives it up. `sent`: the e-mail and phone of `customer` as we
    sent them, where the shop shows them in a spelling of its own. `mapped_stays`: the mapped customer is still there, though
    `customer` is another one. `unparkable`: the values that Shopify refused to take off `customer` for a moment, and why.
    """

    model_config = ConfigDict(frozen=True)

    clerk_user_id: ClerkUserId
    action: Action | None = None
    holds: tuple[Hold, ...] = ()
    customer: Customer | None = None
    target: Customer | None = None
    spec: Spec | None = None
    status: Status | None = None
    taken: tuple[Taken, ...] = ()
    accepted: tuple[str, ...] = ()
    contests: tuple[tuple[str, tuple[Heal, ...]], ...] = ()
    missing_since: datetime | None = None
    lost: bool = False
    inherited: MappingOf[str, Applied] = Field(default_factory=dict)
    successor: ClerkUserId | None = None
    sent: MappingOf[str, str] = Field(default_factory=dict)
    mapped_stays: bool = False
    unparkable: MappingOf[Unique, str] = Field(default_factory=dict)

    @property
    def missing(self) -> bool:
        """Whether the profile row is not there, which proves nothing yet."""
        return self.missing_since is not None

    def value(self, field: Unique) -> str | None:
        """The e-mail or phone of `customer`, as we sent it where the shop is known to spell it in its own way."""
        shown: str | None = getattr(self.customer, field) if self.customer is not None else None
        return self.sent.get(field, shown) if shown is not None else None
