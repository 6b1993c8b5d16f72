"""The verdict: every wanted user against each shop, and the life of every customer. Plain values; nothing of the product.

What is left out, by rule:

* `phone`: a phone that a customer of no current user holds can't be had (a re-link leaves it behind).
* A user who was away at some moment within `grace_s` before their customer was deleted was deleted rightly.
* An old tag in a shop that respells tags: where the answer to the write that added it was lost, it belongs to no user.
* A tag that came with a customer that staff merged into another is the shop's from then on.
* Staff decide the owner of a customer into which they have merged another.
* A user that Clerk deleted need have no row: the webhooks of both may come in any order.
* A user who never had a verified address of their own is nowhere expected.
* A user with the address of a customer that a re-link left behind gets no customer in that shop.
* A user with an erased customer gets no other one in that shop, and no other user gets that customer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.people import SHOPS, US, Bystander, Population, User

APP_TAG, LEAVE_TAG = "app-user", "clerk-left"


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer, as the shop has them."""

    shop: str
    id: str
    email: str | None
    first: str | None
    last: str | None
    phone: str | None
    note: str | None
    tags: tuple[str, ...]
    orders: int
    owner: str | None
    """The user in the back-link."""
    avatar: str | None
    moved_to: str | None = None


@dataclass(slots=True)
class Life:
    """What was seen of one customer over time: (at, owner, email) whenever one of both changed."""

    shop: str
    id: str
    steps: list[tuple[float, str | None, str | None]] = field(default_factory=list)
    gone_at: float | None = None
    erased_at: float | None = None
    """When Shopify was first asked to erase it."""

    @property
    def owner(self) -> str | None:
        """The user who has it now."""
        return self.steps[-1][1] if self.steps else None


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    kind: str
    who: str
    what: str


KINDS = (
    "lost", "doubled", "taken over", "wrong", "not released", "unwanted", "deleted although there", "bystander touched",
    "queue left over", "not in sync", "profile wrong", "quiet mutation", "ended by itself", "not ready", "not healthy",
    "idle transaction", "long transaction", "app kept waiting", "webhook answer", "log line", "memory", "threads",
    "descriptors", "fault not ended", "not settled", "kept waiting", "consent", "saved plan", "undo", "redaction",
)  # fmt: skip


def check(
    population: Population, customers: Mapping[str, Iterable[Customer]], lives: Iterable[Life], *, grace_s: float
) -> list[Violation]:
    """Everything that is not as it should be in the shops, now and ever since the beginning."""
    found: list[Violation] = []
    lives = list(lives)
    for shop, some in customers.items():
        everybody = list(some)
        found += _users(population, shop, everybody, erased_users(lives, shop))
        found += _bystanders(population, shop, everybody)
    for life in lives:
        found += _owners(population, life)
        found += _deletions(population, life, grace_s)
    return sorted(set(found))


def erased_users(lives: Iterable[Life], shop: str) -> dict[str, str]:
    """The customer that was erased of each user who has one."""
    return {life.owner: life.id for life in lives if life.shop == shop and life.erased_at is not None and life.owner}


def _users(population: Population, shop: str, everybody: list[Customer], erased: Mapping[str, str]) -> list[Violation]:
    found = []
    by_owner: dict[str, list[Customer]] = {}
    for customer in everybody:
        if customer.owner is not None:
            by_owner.setdefault(customer.owner, []).append(customer)
    held_phones = _phones_of_others(population, shop, everybody)
    for user in population.users.values():
        own = by_owner.get(user.id, [])
        who = f"{user.id} in {shop}"
        if user.id in erased:
            others = [customer.id for customer in own if customer.id != erased[user.id]]
            found += [Violation("unwanted", who, f"{each}, although erased") for each in others]
        elif (user.id, shop) in population.redacted:
            continue  # `tests/simulation/redactions.py`
        elif user.wanted(shop):
            if not own and shop in user.blocked:
                continue
            if not own:
                holder = next((c for c in everybody if _same(c.email, user.email)), None)
                what = f"no customer; {user.email} is on {holder.id} of {holder.owner}" if holder else "no customer"
                found.append(Violation("lost", who, what))
            elif len(own) > 1:
                found.append(Violation("doubled", who, ", ".join(c.id for c in own)))
            else:
                found += [Violation("wrong", who, what) for what in _differences(population, user, own[0], held_phones)]
                found += _homes(population, user, own[0], everybody)
        else:
            found += _left(population, user, shop, own)
    return found


def _same(one: str | None, other: str | None) -> bool:
    return (one or "").lower() == (other or "").lower()


def _phones_of_others(population: Population, shop: str, everybody: list[Customer]) -> set[str]:
    """Phones on customers of no one who is wanted here."""
    return {
        c.phone
        for c in everybody
        if c.phone
        and (c.owner is None or c.owner not in population.users or not population.users[c.owner].wanted(shop))
    }


def _differences(population: Population, user: User, customer: Customer, held_phones: set[str]) -> list[str]:
    pairs = {
        "email": (user.email.lower(), (customer.email or "").lower()),
        "first name": (user.first, customer.first),
        "last name": (user.last, customer.last),
        "avatar": (user.avatar, customer.avatar),
    }
    if user.phone not in held_phones:
        pairs["phone"] = (user.phone, customer.phone)
    said = [f"{name}: {is_!r} instead of {want!r}" for name, (want, is_) in pairs.items() if want != is_]
    tags = set(customer.tags)
    foreign = population.foreign_tags.get((customer.shop, customer.id), set())
    missing = ({APP_TAG, f"wave-{population.wave}"} | foreign) - tags
    said += [f"tag {tag} is missing" for tag in sorted(missing)]
    merged = population.merged_tags.get((customer.shop, customer.id), set())
    old = {tag for tag in tags - merged if tag.startswith("wave-")} - {f"wave-{population.wave}"}
    said += [f"old tag {tag}" for tag in sorted(old) if not population.respelt]
    return [f"{customer.id} {each}" for each in said]


def _homes(population: Population, user: User, customer: Customer, everybody: list[Customer]) -> list[Violation]:
    """A guest with an address that became the user's is the user's customer; a second one beside the guest is a double."""
    found = []
    for guest in population.bystanders.values():
        if guest.shop == customer.shop and guest.taken_by == user.id and guest.id != customer.id:
            still = next((c for c in everybody if c.id == guest.id), None)
            if still is not None and _same(guest.email, user.email):
                found.append(
                    Violation("doubled", f"{user.id} in {customer.shop}", f"{customer.id} beside guest {guest.id}")
                )
    return found


def _left(population: Population, user: User, shop: str, own: list[Customer]) -> list[Violation]:
    """With `delete` the customer is gone, or marked where Shopify forbids that; with `keep` they stay. Never a new one."""
    found = []
    who = f"{user.id} in {shop}"
    if not user.away[shop] and own:
        found.append(Violation("unwanted", who, f"{own[0].id}, although never wanted here"))
    if own and shop in population.erases and user.away[shop]:
        found.append(Violation("not released", who, f"{own[0].id} is not erased"))
    for customer in own if shop == US else []:
        if customer.orders == 0:
            found.append(Violation("not released", who, f"{customer.id} is still there"))
        elif LEAVE_TAG not in customer.tags:
            found.append(Violation("not released", who, f"{customer.id} has no tag {LEAVE_TAG}"))
    return found


def _bystanders(population: Population, shop: str, everybody: list[Customer]) -> list[Violation]:
    found = []
    by_id = {c.id: c for c in everybody}
    for each in population.bystanders.values():
        if each.shop != shop or each.taken_by is not None:
            continue
        customer = by_id.get(each.id)
        who = f"{each.id} in {shop}"
        if customer is None:
            found.append(Violation("bystander touched", who, "is gone"))
            continue
        found += [Violation("bystander touched", who, what) for what in _touched(each, customer)]
    return found


def _touched(each: Bystander, customer: Customer) -> list[str]:
    pairs = {
        "email": (each.email, customer.email),
        "first name": (each.first, customer.first),
        "last name": (each.last, customer.last),
        "note": (each.note, customer.note),
        "tags": (tuple(sorted(each.tags)), tuple(sorted(customer.tags))),
        "owner": (None, customer.owner),
    }
    return [f"{name}: {is_!r} instead of {want!r}" for name, (want, is_) in pairs.items() if want != is_]


def _owners(population: Population, life: Life) -> list[Violation]:
    """A customer goes from one user to another only when the first was away and the second has the same email.

    That holds for one that a re-link left behind as well: it has no owner, and its last one is still there.
    From no one to a user: only by an email that this user has had, or newly made.
    """
    if (life.shop, life.id) in population.staff_merged:
        return []
    found = []
    who = f"{life.id} in {life.shop}"
    before: tuple[str | None, str | None] | None = None
    last: str | None = None
    for at, owner, email in life.steps:
        is_emptied = owner is None and (life.shop, life.id) in population.emptied
        if life.erased_at is not None and at > life.erased_at and owner != last and not is_emptied:
            found.append(Violation("taken over", who, f"{owner} took it from {last} after it was erased"))
        if owner is not None and before is not None and owner != before[0]:
            user = population.users.get(owner)
            emails = {each.lower() for each in user.emails} if user else set()
            if (before[1] or "").lower() not in emails:
                found.append(Violation("taken over", who, f"{owner} took it with {before[1]}, never theirs"))
            former = population.users.get(last) if last not in {None, owner} else None
            if former is not None and not any(since <= at for since, _ in former.away[life.shop]):
                found.append(Violation("taken over", who, f"{owner} took it from {former.id}, who was there"))
        before, last = (owner, email), owner or last
    return found


def _deletions(population: Population, life: Life, grace_s: float) -> list[Violation]:
    ended_at = life.gone_at if life.erased_at is None else life.erased_at
    if ended_at is None or (life.shop, life.id) in population.staff_deleted or not life.steps:
        return []
    owner = life.owner
    who = f"{life.id} in {life.shop}"
    if owner is None:
        return [Violation("deleted although there", who, "a customer of no user")]
    user = population.users.get(owner)
    if user is None:
        return [Violation("deleted although there", who, f"of {owner}, unknown")]
    away = user.away[life.shop]
    at = ended_at
    if any(since <= at and (until is None or until >= at - grace_s) for since, until in away):
        return []
    return [Violation("deleted although there", who, f"{owner} was there")]


def row_violations(population: Population, rows: Mapping[str, Mapping[str, Any]]) -> list[Violation]:
    """The profiles table itself: Clerk's last word is in it, and so is what the app put there."""
    found = []
    for user in population.users.values():
        row = rows.get(user.id)
        if not user.here:
            if row is not None:
                found.append(Violation("profile wrong", user.id, "the app deleted this row, and it is there again"))
            continue
        if row is None:
            if user.marked and user.source == "clerk":
                continue  # deleted in Clerk before the first webhook was taken: there never was a row
            found.append(Violation("profile wrong", user.id, "no row"))
            continue
        metadata = row["metadata"] if isinstance(row["metadata"], dict) else {}
        pairs: dict[str, tuple[object, object]] = {
            "deleted": (user.marked, row["deleted_at"] is not None),
            "plan in metadata": (population.plans.get(user.id), metadata.get("plan")),
        }
        if not user.marked:
            columns = {"email": user.email, "first_name": user.first, "last_name": user.last, "phone": user.phone}
            pairs |= {name: (want, row[name]) for name, want in columns.items()}
            pairs |= {f"metadata.{shop[5:]}": (shop in user.shops, metadata.get(shop[5:])) for shop in SHOPS}
        said = [f"{name}: {is_!r} instead of {want!r}" for name, (want, is_) in pairs.items() if want != is_]
        found += [Violation("profile wrong", user.id, what) for what in said]
    return found


def counted(violations: Iterable[Violation]) -> Counter[str]:
    return Counter(each.kind for each in violations)
