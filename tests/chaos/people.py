"""The truth: users as they should be in each shop, guests who may become users, and bystanders that are not ours to touch.

Plain values. Whatever happens to a row or a webhook on its way, this is what both shops must show in the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

US, EU = "acme-us", "acme-eu"
SHOPS = (US, EU)
FIRST = ("Tove", "Ada", "Žofie", "Jean-Luc", "Mette", "Iñaki", "Olu", "Søren", "Grace", "Wei")
LAST = ("Ærø", "Byron", "Nováková", "Picard", "Sørensen", "Etxeberria", "Adeyemi", "O'Neill", "Hopper", "Zhang")

Source = Literal["app", "clerk"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Yes or no to marketing by email, given in the app, and when; without a time, where the app keeps none."""

    granted: bool
    at: float | None

    @property
    def second(self) -> int | None:
        """The time in whole seconds."""
        return None if self.at is None else int(self.at)


@dataclass(slots=True)
class User:
    """One user. `wanted_since` and `away_since` are wall times, by shop: only what is certain counts.

    A user counts as away from the moment at which the leaving was begun, and as back from when the return was confirmed.
    """

    id: str
    source: Source
    email: str
    first: str
    last: str
    phone: str | None = None
    avatar: str | None = None
    shops: set[str] = field(default_factory=lambda: set(SHOPS))
    here: bool = True
    marked: bool = False
    """The row is there, and says that the user is deleted."""
    succeeded: bool = False
    """Another user has taken over the email: never comes back."""
    relinked: bool = False
    """Had a guest's address given to them: an earlier customer of theirs was left behind."""
    inherited: bool = False
    """The address was a guest's or a former user's before: there may be a customer with it that is not theirs yet."""
    keeps_email: bool = False
    """Has the phone of a former user, and gets their customer by the email alone: with another one both would keep it."""
    entangled: bool = False
    """Has exchanged addresses with other users."""
    blocked: set[str] = field(default_factory=set)
    """Shops in which the address is that of a customer that a re-link left behind: there the user gets no customer."""
    drifted: int = 0
    answers: list[Answer | None] = field(default_factory=list)
    """To marketing by email, in the app; None: the answer was taken away."""
    texts: list[Answer | None] = field(default_factory=list)
    """The same for text messages."""
    moved_at: float = 0.0
    """When the email, or the customer in a shop, became another one last."""
    phones: list[str | None] = field(default_factory=list)
    """Every phone that this user ever had, or had none; the last one since `phone_at`."""
    phone_at: float = 0.0
    updated_ms: int = 0
    away: dict[str, list[tuple[float, float | None]]] = field(default_factory=lambda: {shop: [] for shop in SHOPS})
    """Spans in which the user was not wanted, by shop; None: still so."""
    emails: list[str] = field(default_factory=list)
    """Every email that this user ever had."""

    story: list[str] = field(default_factory=list)
    """What happened to this user, for those who look into a violation."""

    def __post_init__(self) -> None:
        self.emails.append(self.email)

    def wanted(self, shop: str) -> bool:
        return self.here and not self.marked and shop in self.shops

    def left_behind(self) -> bool:
        """Whether a shop in which they are not wanted now may still have a customer of theirs."""
        return any(self.away[shop] and not self.wanted(shop) for shop in SHOPS)

    def note_phone(self, at: float) -> None:
        if not self.phones or self.phones[-1] != self.phone:
            self.phone_at = at if self.phones else 0.0
            self.phones.append(self.phone)

    def becomes(self, email: str, at: float) -> None:
        self.email, self.moved_at = email, at
        self.blocked.clear()
        self.emails.append(email)


@dataclass(slots=True)
class Bystander:
    """A customer that is no user's: as staff left it. `email` of a guest may become a user's: that of `taken_by`."""

    shop: str
    id: str
    email: str
    first: str
    last: str
    note: str | None
    tags: tuple[str, ...]
    orders: int = 0
    guest: bool = False
    taken_by: str | None = None


@dataclass(slots=True)
class Population:
    """Everybody."""

    users: dict[str, User] = field(default_factory=dict)
    bystanders: dict[tuple[str, str], Bystander] = field(default_factory=dict)
    """By shop and customer id."""
    foreign_tags: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """Tags that staff put on customers of users, by shop and customer id: they must stay."""
    merged_tags: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """Tags that came to a customer by a merge, by shop and customer id: the shop's from then on, they may stay."""
    respelt: bool = False
    """Both shops show every value in a spelling of their own."""
    staff_deleted: set[tuple[str, str]] = field(default_factory=set)
    staff_merged: set[tuple[str, str]] = field(default_factory=set)
    """Customers into which staff have merged another: with it they got that one's user."""
    plans: dict[str, str] = field(default_factory=dict)
    """What the app keeps in the metadata of users of Clerk's, by user: it must stay."""
    erases: set[str] = field(default_factory=set)
    """Shops with `on_leave: erase`."""
    redacted: set[tuple[str, str]] = field(default_factory=set)
    """By user and shop: Shopify has emptied their customer there, by law. They get no other one."""
    emptied: set[tuple[str, str]] = field(default_factory=set)
    """These customers, by shop and id: with their values they lose the back-link."""
    wave: int = 0
    """The tag `wave-N` that stores.yaml asks for now."""

    def current(self) -> list[User]:
        """Users who are there, in a stable order."""
        return [user for user in self.users.values() if user.here and not user.marked]

    def guests(self) -> list[Bystander]:
        return [each for each in self.bystanders.values() if each.guest and each.taken_by is None]
