"""The stream of changes: what happens to users, guests and bystanders, one after the other, the same for the same seed.

Users of the source `app` have rows that only the app writes; those of the source `clerk` come by signed webhooks, which the
product writes into the table. Which change comes next depends on nothing but the seed and the changes before it; what
the shops answer only fills in ids.

Left out, by rule: users exchange addresses only where they are
wanted in the same shops, and where no customer with the address may be another's: of a guest, of a former user, or in a
shop they left (else one is re-linked to that customer before the other is, and leaves their own behind with the address
that a third one takes next: `EmailConflict`, by design); users who exchange addresses do not leave (what the one who
stays should get is then a matter of moments); a user who left an address to another one never
returns; staff change the same customer of ours once only (three times would be a second writer); users of shops that
spell emails in their own way exchange nothing (a known limit: an owner is seen to give up a value by the spelling that
the shop shows).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.chaos.consent import Channel, answer_in_app, answer_in_shop
from tests.chaos.people import EU, FIRST, LAST, SHOPS, US, Bystander, Population, Source, User
from tests.chaos.shops import Shops
from tests.clock import WallClock

WEIGHTS = {
    "new": 6, "new guest": 4, "rename": 10, "new email": 6, "swap": 4, "circle": 2, "phone": 5, "phone swap": 2,
    "phone cleared": 1, "avatar": 2, "row deleted": 4, "row marked": 2, "back as it was": 4, "back as new": 3, "moved": 4,
    "again": 3, "to a guest": 2, "drift": 3, "staff tag": 3, "bystander": 6, "customer deleted": 1, "order": 2,
    "slow write": 2, "app's own metadata": 3, "blink": 3,
    "staff merge": 2, "address left behind": 1, "answer in the app": 10, "answer in Shopify": 6,
}  # fmt: skip
SLOW_S = 2.0
ANSWERS_AT_SIGN_UP = 0.7
TEXTS = 0.4
"""Of the answers to marketing, where there is a phone, so many are to text messages."""
KEPT_STRANGERS = 4  # who is merged is no bystander any more, and some must stay


def wall_s() -> float:
    return WallClock().now().timestamp()


class Table(Protocol):
    """The app that owns the profiles table, and its everyday writes (`app.py`)."""

    def upsert(self, *users: User, pause_s: float = 0.0) -> None: ...

    def bare(self, user: User) -> None: ...

    def row(self, user_id: str) -> dict[str, Any] | None: ...

    def delete(self, user: User) -> None: ...

    def restore(self, user: User, row: dict[str, Any]) -> None: ...

    def mark(self, user: User) -> None: ...

    def keeps(self, user: User, key: str, value: str) -> None: ...

    def pause(self, seconds: float) -> None: ...


class Signs(Protocol):
    """Clerk, which tells of a user (`clerk.py`)."""

    def tell(self, kind: str, user: User) -> None: ...


@dataclass(slots=True)
class Stream:
    """`begin` makes the first people; each `step` changes one thing. What can't be done now is left out."""

    seed: int
    population: Population
    app: Table
    clerk: Signs
    shops: Shops
    now: Callable[[], float] = wall_s
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)
    done: Counter[str] = field(default_factory=Counter)
    deleted: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The rows that were deleted, by user: as each was when it was deleted."""
    numbers: int = 0
    what: str = "at the beginning"
    began_at: float = 0.0
    chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.began_at = self.now()
        self.chance = random.Random(f"stream {self.seed}")

    def begin(self, people: int) -> None:
        for shop in SHOPS:
            for n in range(people // 5):
                first, last = self._names()
                more: dict[str, Any] = {"note": f"likes tea {n}", "tags": ["vip"]} if n % 2 else {}
                guest = n % 2 == 0
                email = f"{'guest' if guest else 'stranger'}{n}.{shop}@example.org"
                self._keep(self.shops.add(shop, guest=guest, email=email, first=first, last=last, orders=n % 3, **more))
        some = [self._new_user("app") for _ in range(people // 2)]
        self.app.upsert(*some)
        for _ in range(people - people // 2):
            self._join(self._new_user("clerk"))

    def step(self) -> str:
        """One change, chosen by weight among those that are possible; its name."""
        kind = self.chance.choices(list(self.weights), list(self.weights.values()))[0]
        self.what = kind
        if CHANGES[kind](self):
            self.done[kind] += 1
            return kind
        return ""

    # --- helpers --------------------------------------------------------------------------------------------------

    def _keep(self, bystander: Bystander) -> None:
        self.population.bystanders[bystander.shop, bystander.id] = bystander

    def _names(self) -> tuple[str, str]:
        return self.chance.choice(FIRST), self.chance.choice(LAST)

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers

    def _email(self) -> str:
        return f"person{self._number()}@example.com"

    def _phone(self) -> str:
        return f"+1212200{self._number():04d}"

    def _new_user(self, source: Source, *, email: str = "", shops: set[str] | None = None) -> User:
        first, last = self._names()
        number = self._number()
        phone = self._phone() if self.chance.random() < 0.5 else None
        user = User(f"user_{number:05d}", source, email or self._email(), first, last, phone, self._avatar())
        user.shops = shops or set(self.chance.choice(((US, EU), (US, EU), (US,), (EU,))))
        if self.chance.random() < ANSWERS_AT_SIGN_UP:
            user.answers.append(answer_in_app(self.chance, self.now(), []))
        if user.phone is not None and self.chance.random() < ANSWERS_AT_SIGN_UP:
            user.texts.append(answer_in_app(self.chance, self.now(), []))
        user.note_phone(self.now())
        self.population.users[user.id] = user
        return user

    def _avatar(self) -> str:
        return f"https://img.example.com/{self._number()}.png"

    def _join(self, user: User) -> None:
        """A new user's first sign: the app's row, or Clerk's webhook, sometimes after a bare row of the app's."""
        self._noted(user)
        if user.source == "app":
            self.app.upsert(user)
            return
        if self.chance.random() < 0.3:
            self.app.bare(user)
        self._tell(user, "user.created")

    def _tell(self, user: User, kind: str = "user.updated") -> None:
        user.updated_ms = max(int(self.now() * 1000), user.updated_ms + 1)
        self.clerk.tell(kind, user)

    def _noted(self, *users: User) -> None:
        for user in users:
            user.note_phone(self.now())
            user.story.append(f"{self.now() - self.began_at:.1f} s {self.what}")

    def _write(self, *users: User, pause_s: float = 0.0) -> None:
        """Make known that these users are as they are now."""
        self._noted(*users)
        if any(user.source == "app" for user in users):
            self.app.upsert(*(user for user in users if user.source == "app"), pause_s=pause_s)
        for user in users:
            if user.source == "clerk":
                self._tell(user)

    def _one(self, *, source: str = "", phone: bool | None = None) -> User | None:
        some = [u for u in self.population.current() if not source or u.source == source]
        some = [u for u in some if phone is None or (u.phone is not None) == phone]
        return self.chance.choice(some) if some else None

    def _leaver(self, *, source: str = "") -> User | None:
        """Somebody who may leave: not while others wait for an address of theirs."""
        some = [u for u in self.population.current() if not u.entangled and (not source or u.source == source)]
        return self.chance.choice(some) if some else None

    def _some(self, count: int, *, phone: bool | None = None) -> list[User]:
        """Users who may exchange something: wanted in the same shops, so that it becomes free wherever it is taken.

        None with an address that may have a customer that is not theirs: of a guest, of a former user, or in a shop that
        they have left.
        """
        some = [u for u in self.population.current() if u.source == "app" and not u.inherited and not u.left_behind()]
        some = [u for u in some if phone is None or (u.phone is not None) == phone]
        like = self.chance.choice(some).shops if some else set()
        some = [u for u in some if u.shops == like]
        return self.chance.sample(some, count) if len(some) >= count else []

    def _leaves(self, user: User, *shops: str) -> None:
        self._noted(user)
        for shop in shops:
            user.away[shop].append((self.now(), None))

    def _returns(self, user: User, *shops: str) -> None:
        self._noted(user)
        for shop in shops:
            if user.away[shop] and user.away[shop][-1][1] is None:
                user.away[shop][-1] = (user.away[shop][-1][0], self.now())

    # --- changes: False where no one is there that it could happen to ---------------------------------------------------

    def new(self) -> bool:
        self._join(self._new_user(self.chance.choice(("app", "clerk"))))
        return True

    def new_guest(self) -> bool:
        """A guest signs up."""
        guests = self.population.guests()
        if not guests:
            return False
        guest = self.chance.choice(guests)
        user = self._new_user(self.chance.choice(("app", "clerk")), email=guest.email, shops={guest.shop})
        guest.taken_by, user.inherited = user.id, True
        self._join(user)
        return True

    def rename(self, *, pause_s: float = 0.0) -> bool:
        user = self._one(source="app" if pause_s else "")
        if user is None:
            return False
        user.first, user.last = self._names()
        self._write(user, pause_s=pause_s)
        return True

    def slow_write(self) -> bool:
        """Its `updated_at` is older than its commit."""
        return self.rename(pause_s=SLOW_S)

    def new_email(self) -> bool:
        user = self._one()
        if user is None or user.keeps_email:
            return False
        user.becomes(self._email(), self.now())
        self._write(user)
        return True

    def swap(self, count: int = 2) -> bool:
        users = self._some(count)
        for user in users:
            user.entangled = True
        emails = [user.email for user in users]
        for user, email in zip(users, emails[1:] + emails[:1], strict=True):
            user.becomes(email, self.now())
        if users:
            self._write(*users)
        return bool(users)

    def circle(self) -> bool:
        return self.swap(3)

    def phone(self) -> bool:
        user = self._one()
        if user is None or user.relinked:
            return False
        user.phone = self._phone()
        self._write(user)
        return True

    def phone_swap(self) -> bool:
        users = self._some(2, phone=True)
        if not users:
            return False
        users[0].phone, users[1].phone = users[1].phone, users[0].phone
        for user in users:
            user.entangled = True
        self._write(*users)
        return True

    def phone_cleared(self) -> bool:
        user = self._one(phone=True)
        if user is None:
            return False
        user.phone = None
        self._write(user)
        return True

    def avatar(self) -> bool:
        user = self._one()
        if user is None:
            return False
        user.avatar = self._avatar()
        self._write(user)
        return True

    def row_deleted(self) -> bool:
        user = self._leaver(source="app")
        if user is None:
            return False
        self._leaves(user, *SHOPS)
        user.here = False
        if row := self.app.row(user.id):
            self.deleted[user.id] = row
        self.app.delete(user)
        return True

    def row_marked(self) -> bool:
        """`deleted_at` is set: by the app, or by the product for Clerk's `user.deleted`."""
        user = self._leaver()
        if user is None:
            return False
        self._leaves(user, *SHOPS)
        user.marked = True
        if user.source == "app":
            self.app.mark(user)
        else:
            self.clerk.tell("user.deleted", user)
        return True

    def blink(self) -> bool:
        """A row is deleted, and is there again exactly as it was, a moment later."""
        user, away_s = self._leaver(source="app"), self.chance.uniform(0.1, 1.0)
        row = self.app.row(user.id) if user else None
        if user is None or row is None:
            return False
        self._leaves(user, *SHOPS)
        self.app.delete(user)
        self.app.pause(away_s)
        self.app.restore(user, row)
        self._returns(user, *SHOPS)
        return True

    def back(self, *, as_it_was: bool) -> bool:
        gone = [u for u in self.population.users.values() if not u.here and u.source == "app" and not u.succeeded]
        if not gone:
            return False
        user = self.chance.choice(gone)
        user.here, user.marked = True, False
        if as_it_was:
            self.app.restore(user, self.deleted[user.id])
        else:
            self.app.upsert(user)
        self._returns(user, *SHOPS)
        return True

    def moved(self) -> bool:
        """A user is wanted in one more shop, or in one less."""
        user, shop = self._leaver(), self.chance.choice(SHOPS)
        if user is None:
            return False
        if shop in user.shops:
            self._leaves(user, shop)
            user.shops.remove(shop)
            self._write(user)
        else:
            user.shops.add(shop)
            self._write(user)
            self._returns(user, shop)
        return True

    def again(self) -> bool:
        """Somebody who left signs up again: a new id with the same address."""
        gone = [u for u in self.population.users.values() if not u.wanted(US) and not u.wanted(EU) and not u.succeeded]
        gone = [u for u in gone if (not u.here or u.marked) and not u.relinked and not u.blocked]
        if not gone:
            return False
        former = self.chance.choice(gone)
        former.succeeded = True
        user = self._new_user(self.chance.choice(("app", "clerk")), email=former.email, shops=set(former.shops) or {EU})
        user.inherited = True
        user.blocked = user.blocked | (self.population.erases & user.shops)
        customers = [self.shops.owned_by(shop, former.id) for shop in SHOPS]
        found = {customer.email for customer in customers if customer is not None}
        if former.emails == [former.email] and found <= {former.email}:  # else that customer may keep the phone
            user.phone, user.keeps_email = former.phone, former.phone is not None
        self._join(user)
        return True

    def to_a_guest(self) -> bool:
        """A user takes the address of a guest: their customer is the guest's from then on."""
        guests = self.population.guests()
        some = [u for u in self.population.current() if u.phone is None and not u.relinked and not u.entangled]
        if not guests or not some:
            return False
        guest, user = self.chance.choice(guests), self.chance.choice(some)
        guest.taken_by, user.relinked, user.inherited = user.id, True, True
        user.becomes(guest.email, self.now())
        self._write(user)
        return True

    def address_left_behind(self) -> bool:
        """Somebody signs up with the address of a customer that a re-link left behind, which no user may have."""
        shop = self.chance.choice(SHOPS)
        known = {user.email for user in self.population.users.values()}
        left = [c for c in self.shops.customers(shop) if c.moved_to and c.owner is None and c.email not in known]
        former = [u for u in self.population.current() if u.relinked and u.wanted(shop) and not u.entangled]
        for customer in left:
            for owner in former:
                if customer.email in owner.emails:
                    owner.entangled = True
                    user = self._new_user("app", email=customer.email or "", shops={shop})
                    user.blocked, user.inherited = {shop}, True
                    self._join(user)
                    return True
        return False

    def drift(self) -> bool:
        """Staff change a name that is ours."""
        user, shop = self._one(), self.chance.choice(SHOPS)
        customer = self.shops.owned_by(shop, user.id) if user else None
        if user is None or customer is None or user.drifted:
            return False
        user.drifted += 1
        self.shops.staff(shop, "edit", id=customer.id, first_name="Mistyped")
        return True

    def staff_tag(self) -> bool:
        user, shop, number = self._one(), self.chance.choice(SHOPS), self._number()
        customer = self.shops.owned_by(shop, user.id) if user else None
        if customer is None:
            return False
        self.shops.staff(shop, "tag", id=customer.id, tags=[f"staff-{number}"])
        self.population.foreign_tags.setdefault((shop, customer.id), set()).add(f"staff-{number}")
        return True

    def bystander(self) -> bool:
        """Staff change somebody who is not ours."""
        some = [b for b in self.population.bystanders.values() if not b.guest]
        if not some:
            return False
        each, number = self.chance.choice(some), self._number()
        each.note, each.first = f"note {number}", self._names()[0]
        self.shops.staff(each.shop, "edit", id=each.id, note=each.note, first_name=each.first)
        return True

    def customer_deleted(self) -> bool:
        user = self._one()
        customer = self.shops.owned_by(EU, user.id) if user else None
        if user is None or customer is None or customer.orders or user.relinked:
            return False
        self.population.staff_deleted.add((EU, customer.id))
        user.moved_at = self.now()
        self.shops.staff(EU, "delete", id=customer.id)
        return True

    def staff_merge(self) -> bool:
        """Staff make one of two: of strangers, or of a user's customer and a stranger, and either of both may stay."""
        shop, strangers = EU, [b for b in self.population.bystanders.values() if not b.guest and b.shop == EU]
        some = [u for u in self.population.current() if u.wanted(EU) and not u.entangled and not u.relinked]
        if len(strangers) < KEPT_STRANGERS or not some:
            return False
        one, other = self.chance.sample(strangers, 2)
        user, way = self.chance.choice(some), self.chance.choice(("strangers", "stays", "goes"))
        with self.shops.sim(shop).lock:
            customer = self.shops.owned_by(shop, user.id)
            if way != "strangers" and (customer is None or customer.email != user.email):
                return False
            mine = customer.id if customer else ""
            keep, goes = {"strangers": (one.id, other.id), "stays": (mine, one.id), "goes": (one.id, mine)}[way]
            self.population.staff_deleted.add((shop, goes))
            self.population.staff_merged.add((shop, keep))
            try:
                self.shops.staff(shop, "merge", keep=keep, other=goes)
            except ValueError:  # Shopify merges no customer who subscribes, and the like
                return False
            merged = self.shops.find(shop, keep)
        assert merged is not None
        del self.population.bystanders[shop, other.id if way == "strangers" else one.id]
        if way == "strangers":
            one.note, one.tags = merged.note, merged.tags
            return True
        self._noted(user)
        user.moved_at = self.now()
        if way == "goes":
            self.population.merged_tags[shop, keep] = set(merged.tags)
        foreign = self.population.foreign_tags.pop((shop, goes), set()) | set(one.tags)
        self.population.foreign_tags.setdefault((shop, keep), set()).update(foreign)
        return True

    def order(self) -> bool:
        user, shop = self._one(), self.chance.choice(SHOPS)
        customer = self.shops.owned_by(shop, user.id) if user else None
        if customer is None:
            return False
        self.shops.staff(shop, "order", id=customer.id)
        return True

    def answer_in_app(self) -> bool:
        """Marketing by email or by text messages: yes, no, or the answer is taken away."""
        by_text = self.chance.random() < TEXTS
        some = [u for u in self.population.current() if not by_text or u.phone is not None]
        some = [u for u in some if (u.texts if by_text else u.answers)] if self.chance.random() < 0.5 else some
        if not some:
            return False
        user = self.chance.choice(some)
        answers = user.texts if by_text else user.answers
        answers.append(answer_in_app(self.chance, self.now(), answers))
        self._write(user)
        return True

    def answer_in_shop(self) -> bool:
        """A customer subscribes or unsubscribes in Shopify: of a user, or, now and then, any other."""
        shop = self.chance.choice(SHOPS)
        users = {user.id for user in self.population.current()}
        some = [c for c in self.shops.customers(shop) if c.email and (c.owner in users or self.chance.random() < 0.1)]
        if not some:
            return False
        customer = self.chance.choice(some)
        if customer.owner in users:
            self._noted(self.population.users[customer.owner or ""])
        channel: Channel = "sms" if customer.phone is not None and self.chance.random() < TEXTS else "email"
        self.shops.staff(shop, "consent", id=customer.id, **answer_in_shop(self.chance, shop, channel))
        return True

    def correct(self, user: User, *, email: bool, phone: bool) -> None:
        """Give a user other values, after an operator has taken back what was written."""
        user.first, user.last = self._names()
        user.avatar = self._avatar()
        user.phone = self._phone() if phone else user.phone
        if email:
            user.becomes(self._email(), self.now())
        user.moved_at = self.now()
        self.what = "corrected"
        self._write(user)

    def metadata(self) -> bool:
        """The app keeps something of its own beside what Clerk's webhooks write."""
        user, value = self._one(source="clerk"), f"plan {self._number()}"
        if user is None or self.app.row(user.id) is None:
            return False
        self._noted(user)
        self.app.keeps(user, "plan", value)
        self.population.plans[user.id] = value
        return True


CHANGES: dict[str, Callable[[Stream], bool]] = {
    "new": Stream.new,
    "new guest": Stream.new_guest,
    "rename": Stream.rename,
    "new email": Stream.new_email,
    "swap": Stream.swap,
    "circle": Stream.circle,
    "phone": Stream.phone,
    "phone swap": Stream.phone_swap,
    "phone cleared": Stream.phone_cleared,
    "avatar": Stream.avatar,
    "row deleted": Stream.row_deleted,
    "row marked": Stream.row_marked,
    "back as it was": lambda stream: stream.back(as_it_was=True),
    "back as new": lambda stream: stream.back(as_it_was=False),
    "moved": Stream.moved,
    "again": Stream.again,
    "to a guest": Stream.to_a_guest,
    "drift": Stream.drift,
    "staff tag": Stream.staff_tag,
    "bystander": Stream.bystander,
    "customer deleted": Stream.customer_deleted,
    "order": Stream.order,
    "slow write": Stream.slow_write,
    "app's own metadata": Stream.metadata,
    "blink": Stream.blink,
    "staff merge": Stream.staff_merge,
    "address left behind": Stream.address_left_behind,
    "answer in the app": Stream.answer_in_app,
    "answer in Shopify": Stream.answer_in_shop,
}
