"""What a simulated shop keeps: plain slotted objects, small enough for a million customers in one process.

Below everything else of the domain. Knows no GraphQL, no rules and no indexes: those are in `people.py` and above.
Times are seconds since the epoch, numbers are the last part of a gid.
"""

from dataclasses import dataclass, field

from reconciler.simulator.graphql.documents import Json


@dataclass(slots=True, eq=False)
class Metafield:
    """One metafield of one customer. A changed value is changed in place: the id stays."""

    number: int
    namespace: str
    key: str
    type: str
    value: str
    created_at: float
    updated_at: float

    @property
    def name(self) -> tuple[str, str]:
        return (self.namespace, self.key)


@dataclass(slots=True, eq=False)
class Definition:
    """A metafield definition, of customers or of another owner type."""

    number: int
    owner_type: str
    namespace: str
    key: str
    type: str
    name: str
    description: str | None = None
    unique: bool = False
    filterable: bool = False
    access: Json = field(default_factory=dict)
    validations: tuple[tuple[str, str], ...] = ()
    pinned_position: int | None = None


@dataclass(slots=True, frozen=True)
class Consent:
    """Marketing consent of an e-mail address or a phone."""

    state: str
    level: str | None
    updated_at: float | None


@dataclass(slots=True, eq=False)
class Address:
    number: int
    fields: Json


@dataclass(slots=True)
class Rare:
    """What few customers have, kept apart so that the many stay small."""

    tax_exempt: bool = False
    tax_exemptions: tuple[str, ...] = ()
    multipass: str | None = None
    addresses: list[Address] = field(default_factory=list)
    default_address: int | None = None
    email_consent: Consent | None = None
    sms_consent: Consent | None = None
    unverified: bool = False
    opted_out: bool = False
    had_orders: bool = False
    last_order_at: float | None = None
    erasure_requested_at: float | None = None
    redacted_at: float | None = None
    blockers: frozenset[str] = frozenset()
    """What stands in the way of a merge: members of CustomerMergeErrorFieldType."""


@dataclass(slots=True, eq=False)
class Customer:
    number: int
    created_at: float
    updated_at: float
    locale: str
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    note: str | None = None
    tags: tuple[str, ...] = ()
    state: str = "DISABLED"
    orders: int = 0
    metafields: tuple[Metafield, ...] = ()
    rare: Rare | None = None

    def metafield(self, name: tuple[str, str]) -> Metafield | None:
        for each in self.metafields:
            if each.key == name[1] and each.namespace == name[0]:
                return each
        return None

    def seldom(self) -> Rare:
        """Its rare facts, to be written."""
        if self.rare is None:
            self.rare = Rare()
        return self.rare

    @property
    def has_identity(self) -> bool:
        return bool(self.email or self.phone or self.first_name or self.last_name)


_NOTHING_RARE = Rare()


def rare(customer: Customer) -> Rare:
    """Its rare facts, to be read only."""
    return customer.rare or _NOTHING_RARE


@dataclass(slots=True, eq=False)
class Subscription:
    """A webhook subscription made over the API."""

    number: int
    topic: str
    uri: str
    created_at: float
    updated_at: float
    format: str = "JSON"
    filter: str | None = None
    include_fields: tuple[str, ...] = ()
    metafield_namespaces: tuple[str, ...] = ()
    metafields: tuple[tuple[str, str], ...] = ()
    failures: int = 0
    """Deliveries that failed one after another."""


@dataclass(slots=True, frozen=True)
class Event:
    """Something that a webhook tells of: the topic as in the enum, and the body as it was at that moment."""

    number: int
    topic: str
    at: float
    payload: Json


@dataclass(slots=True)
class Merge:
    """A merge as its job sees it. `looks` counts how often the job was asked for; `at` is when it was asked for."""

    job: str
    winner: int
    loser: int
    at: float
    overrides: Json
    status: str = "REQUESTED"
    looks: int = 0
    errors: tuple[tuple[str, str], ...] = ()
    """Pairs of a field and a message."""
