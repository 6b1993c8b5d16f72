"""The records of a simulated shop: plain slotted objects, small enough for a million customers in one process.

The lowest module of the domain, without GraphQL, rules and indexes.
Times are seconds since the epoch, numbers are the last part of a gid.
"""

from dataclasses import dataclass, field

from reconciler.simulator.graphql.documents import Json


@dataclass(slots=True, eq=False)
class Metafield:
    """One metafield of one customer. A change keeps the id."""

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
class SimDefinition:
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
class SimConsent:
    """Marketing consent of an email address or a phone."""

    state: str
    level: str | None
    updated_at: float | None


@dataclass(slots=True, eq=False)
class Address:
    number: int
    fields: Json


@dataclass(slots=True)
class Rare:
    """Values that few customers have, kept apart to save memory."""

    tax_exempt: bool = False
    tax_exemptions: tuple[str, ...] = ()
    multipass: str | None = None
    addresses: list[Address] = field(default_factory=list)
    default_address: int | None = None
    email_consent: SimConsent | None = None
    sms_consent: SimConsent | None = None
    unverified: bool = False
    opted_out: bool = False
    had_orders: bool = False
    last_order_at: float | None = None
    erasure_requested_at: float | None = None
    redacted_at: float | None = None
    blockers: frozenset[str] = frozenset()
    """What forbids a merge: members of CustomerMergeErrorFieldType."""


@dataclass(slots=True, eq=False)
class SimCustomer:
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
        """The rare values, for writing; created on first use."""
        if self.rare is None:
            self.rare = Rare()
        return self.rare


_NOTHING_RARE = Rare()


def rare(customer: SimCustomer) -> Rare:
    """The rare values, for reading only."""
    return customer.rare or _NOTHING_RARE


@dataclass(slots=True, eq=False)
class SimSubscription:
    """A webhook subscription created by the API."""

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
    """The number of consecutive failed deliveries."""


@dataclass(slots=True, frozen=True)
class SimEvent:
    """An event for webhooks: the topic as in the enum, and the body at that moment."""

    number: int
    topic: str
    at: float
    payload: Json


@dataclass(slots=True)
class SimMerge:
    """The job of a merge. `polls` counts the reads of the job; `at` is the time of the request."""

    job: str
    winner: int
    loser: int
    at: float
    overrides: Json
    status: str = "REQUESTED"
    polls: int = 0
    errors: tuple[tuple[str, str], ...] = ()
    """Pairs of a field and a message."""
