"""A Shopify that is nothing but its rules of normalisation, and a state that is a dict: the core's world without any wire.

What Shopify is not known to do, it does or does not by `Ways`; a plan must be followed by an empty one in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count, product
from typing import Any

import phonenumbers

from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.context import StoreContext
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.readers import Readers
from reconciler.controller.scan.plan import scan_store
from reconciler.controller.step import Outcome
from reconciler.core.fields import normalise
from reconciler.core.fields.consent import last_consents
from reconciler.core.model.customer import Customer, MetafieldValue
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.scalars import SCALARS
from reconciler.core.model.store import Store
from reconciler.core.model.write import (
    AddTags,
    Create,
    Delete,
    DeleteMetafields,
    Fields,
    Link,
    Merge,
    RemoveTags,
    RequestErasure,
    SetMetafields,
    Unlink,
    Update,
    Write,
)
from reconciler.core.plan.gather import ScanResult, with_withheld
from reconciler.errors import Refusal, Refused
from reconciler.ports import Answer, FoundEqual, SeenRow, Shown, StoreFacts
from tests.core.people import NOW, gid
from tests.inprocess import Rows


@dataclass(frozen=True, slots=True)
class Ways:
    """What is not known for sure of Shopify."""

    trim_names: bool = True
    fold_email: bool = False
    snap_tags: bool = False
    trim_notes: bool = False


ALL_WAYS = tuple(Ways(*each) for each in product((False, True), repeat=4))


class ModelShop:
    """ports.CustomerReader and CustomerWriter over a dict. `writes` counts mutations."""

    def __init__(self, store: Store, ways: Ways = Ways()) -> None:
        self.store = store
        self.ways = ways
        self.people: dict[CustomerId, Customer] = {}
        self.writes = 0
        self._numbers = count(1)

    def put(self, customer: Customer) -> Customer:
        """As it is, from nowhere."""
        self.people[customer.id] = customer
        return customer

    # --- reads ----------------------------------------------------------------------------------------------------

    def by_ids(self, ids: Collection[CustomerId]) -> dict[CustomerId, Customer]:
        return {i: self.people[i] for i in ids if i in self.people}

    def by_backlinks(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Customer]:
        return {ClerkUserId(c.backlink): c for c in self.people.values() if c.backlink in set(users) and c.backlink}

    def by_metafield(self, metafield: str, users: Collection[ClerkUserId]) -> dict[ClerkUserId, CustomerId]:
        return {}

    def by_emails(self, emails: Collection[str]) -> dict[str, Customer]:
        there = {_key(c.email): c for c in self.people.values() if c.email}
        return {e: there[_key(e)] for e in emails if _key(e) in there}

    def by_phones(self, phones: Collection[str]) -> dict[str, Customer]:
        there = {c.phone: c for c in self.people.values() if c.phone}
        return {p: there[p] for p in phones if p in there}

    def merge_blockers(self, one: CustomerId, other: CustomerId) -> tuple[str, ...]:
        return ()

    def restore_rate(self) -> float:
        return 100.0

    # --- writes ---------------------------------------------------------------------------------------------------

    def send(self, write: Write) -> Answer:
        match write:
            case Create(user, fields):
                made = self._create(user, fields)
                return Answer(made, {made: self._shown(made)})
            case Update(customer, fields):
                self.people[customer] = self._saved(self._known(customer), fields)
                return Answer(shown={customer: self._shown(customer)})
            case AddTags(customer, tags):
                there = self._known(customer)
                self._change(there, tags=self._tags([*there.tags, *tags]))
                return Answer(shown={customer: self._shown(customer)})
            case RemoveTags(customer, tags):
                there, gone = self._known(customer), {t.casefold() for t in tags}
                self._change(there, tags=tuple(t for t in there.tags if t.casefold() not in gone))
            case SetMetafields(values):
                writes = self.writes
                shown = {customer: self._set_metafields(customer, named) for customer, named in values.items()}
                self.writes = writes + 1
                return Answer(shown=shown)
            case DeleteMetafields(customer, names):
                there = self._known(customer)
                self._change(there, metafields={n: v for n, v in there.metafields.items() if n not in names})
            case Link(customer, user):
                self._link(customer, user)
            case Unlink(customer):
                self._change(self._known(customer), backlink=None)
            case Merge(one, other):
                self._merge(one, other)
                return Answer(other)
            case Delete(customer):
                self.writes += 1
                self.people.pop(customer, None)
            case RequestErasure(customer):
                self._change(self._known(customer))
        return Answer()

    def _create(self, user: ClerkUserId, fields: Fields) -> CustomerId:
        there = self.by_backlinks([user]).get(user)
        blank = there or Customer(id=gid(next(self._numbers) + 1000), backlink=user)
        scalars = {f: v for f, v in fields.items() if f != "tags"}
        made = self._saved(blank, scalars)
        if "tags" in fields:
            made = made.model_copy(update={"tags": self._tags(fields["tags"] or ())})
        self.people[made.id] = made
        return made.id

    def _set_metafields(self, customer: CustomerId, values: MappingOf[str, tuple[str, str]]) -> Shown:
        there = self._known(customer)
        new = {name: MetafieldValue(value=v, type=t) for name, (v, t) in values.items()}
        self._change(there, metafields={**there.metafields, **new})
        return {f"metafields.{name}": self.people[customer].metafields[name].value for name in values}

    def _shown(self, customer: CustomerId) -> Shown:
        there = self.people[customer]
        return {name: getattr(there, name) for name in (*SCALARS, "tags")}

    def _link(self, customer: CustomerId, user: ClerkUserId) -> None:
        there = self._known(customer)
        if self.by_backlinks([user]) or there.backlink is not None:
            raise Refused((Refusal("backlink", "TAKEN", "has already been taken"),))
        self._change(there, backlink=user)

    def _merge(self, one: CustomerId, other: CustomerId) -> None:
        loser, winner = self._known(one), self._known(other)
        del self.people[one]
        self._change(
            winner,
            backlink=winner.backlink or loser.backlink,
            tags=self._tags([*winner.tags, *loser.tags]),
            metafields={**loser.metafields, **winner.metafields},
        )

    # --- what Shopify makes of words ------------------------------------------------------------------------------

    def _known(self, customer: CustomerId) -> Customer:
        if customer not in self.people:
            raise Refused((Refusal(None, "NOT_FOUND", "Resource matching the identifier was not found."),))
        return self.people[customer]

    def _change(self, there: Customer, **values: Any) -> None:
        self.writes += 1
        self.people[there.id] = there.model_copy(update=values)

    def _saved(self, there: Customer, fields: MappingOf[str, Any]) -> Customer:
        values = {field: self._kept(field, value) for field, value in fields.items()}
        taken = [f for f in ("email", "phone") if values.get(f) and self._owner(f, values[f]) not in {None, there.id}]
        if taken:
            raise Refused(tuple(Refusal(f, "TAKEN", f"{f.title()} has already been taken") for f in taken))
        saved = there.model_copy(update=values)
        if not any((saved.email, saved.phone, saved.first_name, saved.last_name)):
            raise Refused((Refusal(None, "BLANK", "A name, phone number, or email address must be present"),))
        self.writes += 1
        return saved

    def _owner(self, field: str, value: str | None) -> CustomerId | None:
        same = (lambda c: _key(c.email) == _key(value)) if field == "email" else (lambda c: c.phone == value)
        return next((c.id for c in self.people.values() if same(c)), None)

    def _kept(self, field: str, value: str | None) -> str | None:
        text = value or ""
        match field:
            case "email":
                text = re.sub(r"\s+", "", text)
                return (text.lower() if self.ways.fold_email else text) or None
            case "first_name" | "last_name":
                return (text.strip() if self.ways.trim_names else text) if text.strip() else None
            case "phone":
                return _e164(text) if text.strip() else None
            case "note":
                return value.strip() if value is not None and self.ways.trim_notes else value
            case _:
                return value

    def _tags(self, tags: Sequence[str]) -> tuple[str, ...]:
        kept: dict[str, str] = {}
        known = {t.casefold(): t for c in self.people.values() for t in c.tags} if self.ways.snap_tags else {}
        for tag in (part.strip() for each in tags for part in each.split(",")):
            if tag:
                kept.setdefault(tag.casefold(), known.get(tag.casefold(), tag))
        return tuple(kept[k] for k in sorted(kept))


def _key(email: str | None) -> str:
    return re.sub(r"\s+", "", email or "").lower()


def _e164(text: str) -> str:
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException as error:
        raise Refused((Refusal("phone", "INVALID", "Phone is invalid"),)) from error
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


class ModelState:
    """ports.State in a dict, for one shop."""

    def __init__(self) -> None:
        self.rows: dict[ClerkUserId, Mapping] = {}
        self.told: list[Event] = []
        self.about: StoreFacts | None = None

    def get(self, shop: ShopDomain, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Mapping]:
        return {u: self.rows[u] for u in users if u in self.rows}

    def owners(self, shop: ShopDomain, customers: Collection[CustomerId]) -> dict[CustomerId, ClerkUserId]:
        rows = self.rows.values()
        return {m.customer_id: m.clerk_user_id for m in rows if m.customer_id and m.customer_id in set(customers)}

    def first_mapped(self, shop: ShopDomain, users: Sequence[ClerkUserId], *, limit: int) -> frozenset[ClerkUserId]:
        mapped = [u for u in users if (row := self.rows.get(u)) and row.customer_id and row.left_at is None]
        return frozenset(mapped[:limit])

    def by_emails(self, shop: ShopDomain, emails: Collection[str]) -> dict[str, tuple[ClerkUserId, ...]]:
        return {e: tuple(u for u, m in self.rows.items() if normalise.email_key(m.email) == e) for e in emails}

    def waiting_for(
        self, shop: ShopDomain, keys: Collection[str] = (), customers: Collection[CustomerId] = ()
    ) -> tuple[ClerkUserId, ...]:
        freed: set[str] = {*keys, *customers}
        return tuple(sorted(u for u, m in self.rows.items() if {*m.awaited_keys, *m.awaited_customers} & freed))

    def scan(self, shop: ShopDomain, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Mapping]]:
        yield [m for u, m in sorted(self.rows.items()) if after is None or u > after]

    def mapped_users(self, shop: ShopDomain, *, after: ClerkUserId | None, limit: int) -> list[ClerkUserId]:
        users = sorted(u for u, m in self.rows.items() if m.status not in {"released", "erased"})
        return [u for u in users if after is None or u > after][:limit]

    def mapped_users_before(self, shop: ShopDomain, user: ClerkUserId, *, limit: int) -> list[ClerkUserId]:
        return [u for u in self.mapped_users(shop, after=None, limit=len(self.rows)) if u < user][-limit:]

    def found_equal(
        self, shop: ShopDomain, config: str, *, after: ClerkUserId | None, upto: ClerkUserId | None, limit: int
    ) -> list[FoundEqual]:
        users = self.mapped_users(shop, after=after, limit=limit)
        return [(u, None, self.rows[u].customer_id, None) for u in users if upto is None or u <= upto]

    def seen_rows(self, shop: ShopDomain, *, after: ClerkUserId | None, limit: int) -> list[SeenRow]:
        users = self.mapped_users(shop, after=after, limit=limit)
        return [SeenRow(u, self.rows[u].profile_fp, self.rows[u].profile_digest) for u in users]

    def waiting(self, store: StoreName, shop: ShopDomain, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        return frozenset()

    def absent_users(self, shop: ShopDomain, *, limit: int) -> list[ClerkUserId]:
        return sorted(u for u, m in self.rows.items() if m.absent_since is not None)[:limit]

    def count(self, shop: ShopDomain, *, at_most: int | None = None) -> int:
        count = sum(1 for m in self.rows.values() if m.customer_id and m.status not in {"released", "erased"})
        return count if at_most is None else min(count, at_most)

    def facts(self, shop: ShopDomain) -> StoreFacts | None:
        return self.about

    def events(
        self,
        *,
        user: ClerkUserId | None = None,
        shop: ShopDomain | None = None,
        since: datetime | None = None,
        plan_digest: str | None = None,
        run_id: int | None = None,
        consents: bool = False,
        limit: int = 1000,
    ) -> list[Event]:
        return [e for e in self.told if user is None or e.clerk_user_id == user][-limit:]

    def put(self, mapping: Mapping, *events: Event) -> tuple[ClerkUserId, ...]:
        self.told.extend(events)
        return self.put_many([mapping])

    def put_many(self, mappings: Sequence[Mapping], *events: Event) -> tuple[ClerkUserId, ...]:
        """Who else held one of these customers loses it."""
        self.rows |= {m.clerk_user_id: m for m in mappings}
        new = {m.customer_id: m.clerk_user_id for m in mappings if m.customer_id}
        losers = [u for u, m in self.rows.items() if m.customer_id in new and new[m.customer_id] != u]
        for user in losers:
            row = self.rows[user]
            status = row.status if row.status in {"released", "erased"} else "pending"
            self.rows[user] = replace(
                row, customer_id=None, email=None, applied=last_consents(row.applied), status=status
            )
        return tuple(losers)

    def put_unchanged(
        self, decided: Sequence[tuple[Mapping | None, Mapping]], *events: Event
    ) -> tuple[ClerkUserId, ...]:
        return self.put_many([row for read, row in decided if self.rows.get(row.clerk_user_id) == read], *events)

    def forget(self, shop: ShopDomain, user: ClerkUserId) -> None:
        self.rows.pop(user, None)

    def put_facts(self, facts: StoreFacts) -> None:
        self.about = facts


class ModelWorld:
    """One store with all that belongs to it."""

    def __init__(self, store: Store, ways: Ways = Ways()) -> None:
        self.store = store
        self.shop = ModelShop(store, ways)
        self.state = ModelState()
        self.profiles = Rows()
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def plan(self, users: Sequence[ClerkUserId] | None = None, *, explicit: bool = False) -> ScanResult:
        ask = ObserveOptions(now=self.at, users=users, explicit=explicit)
        return scan_store(self.store, Readers(self.profiles, self.shop, self.state), ask)

    def apply(self, scan_result: ScanResult, *, fresh: bool = True) -> list[Outcome]:
        readers = Readers(self.profiles, self.shop, self.state)
        context = StoreContext(
            self.store, readers, self.shop, self.state, self, lambda _said: None, workers=1, explicit=False
        )
        return list(apply_plan(with_withheld(scan_result), context, fresh=fresh))

    def cycle(self) -> ScanResult:
        """Plan and apply; gives what was planned."""
        scan_result = self.plan()
        self.apply(scan_result)
        return scan_result
