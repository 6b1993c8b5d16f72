"""Requests of the law: Shopify empties a customer and tells by `customers/redact`; or the app is removed (`shop/redact`).

The verdict is written from docs/operations.md ("a person asks for erasure") and docs/tasks/personal-data.md. Once the
webhook was accepted, the state has nothing of the user in that shop but a tombstone, whatever was under way. The user gets
no other customer there, and the emptied one is not written any more. `shop/redact` deletes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Engine, func, or_, select

from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.manager.http.service import ManagerService
from reconciler.shopify.webhooks import ShopifyEvent
from reconciler.state.database.engine import reading
from reconciler.state.tables.bulk import BulkLineRow
from reconciler.state.tables.mappings import EventRow, MappingRow
from reconciler.state.tables.mirror import MirrorRow
from reconciler.state.tables.scans import FindingRow
from tests.chaos.checker import Customer, Violation
from tests.chaos.people import SHOPS
from tests.chaos.shops import domain
from tests.simulation.outside import deliver

if TYPE_CHECKING:
    from tests.simulation.faults import Faults
    from tests.simulation.simulation import Simulation

KIND, UNINSTALLED = "redaction", "app uninstalled"
AT_WORK = 0.5
"""Of redactions of users who are there, just after a change, in a shop that answers slowly: a replica is at work on it."""
IN_FLIGHT_S = 120.0
"""A write that was sent before the webhook was accepted has arrived by then."""


@dataclass(slots=True)
class Redaction:
    """`values`: emails and phones. `after`: the customer, and those of the user, when nothing was in flight any more."""

    shop: str
    customer: str
    user: str
    values: frozenset[str]
    accepted_at: float | None = None
    after: tuple[Customer | None, frozenset[str]] | None = None


def redact(faults: Faults) -> None:
    """Shopify empties a customer that the state knows, of a user who is there, or who has left."""
    simulation = faults.simulation
    shop = faults.dice.choice(SHOPS)
    some = [customer for customer in simulation.shops.customers(shop) if _may_be_redacted(simulation, customer)]
    if not some:
        return
    customer = faults.dice.choice(some)
    user = simulation.population.users[customer.owner or ""]
    user.entangled = user.succeeded = (
        True  # no one else gets a value of theirs, and neither does anyone sign up with it
    )
    values = {*user.emails, *([user.phone] if user.phone else []), *([customer.phone] if customer.phone else [])}
    redaction = Redaction(shop, customer.id, user.id, frozenset(values))
    simulation.redactions.append(redaction)
    simulation.population.redacted.add((user.id, shop))
    simulation.population.emptied.add((shop, customer.id))
    user.story.append(f"{simulation.scheduler.now_s - simulation.stream.began_at:.1f} s redacted in {shop}")
    slow = simulation.luck.slow_shops
    if user.here and not user.marked and faults.dice.random() < AT_WORK:
        slow.setdefault(domain(shop), 2.0)
        simulation.stream.correct(user, email=False, phone=False)
        faults.sleep(faults.dice.choice((0.0, 1.0, 5.0)))
    if simulation.shops.find(shop, customer.id) is None:
        simulation.redactions.remove(redaction)
        slow.pop(domain(shop), None)
        return
    simulation.shops.staff(shop, "redact", id=customer.id)
    while redaction.accepted_at is None:
        faults.sleep(5)
    slow.pop(domain(shop), None)
    faults.sleep(IN_FLIGHT_S)
    redaction.after = _shown(simulation, redaction)


def _may_be_redacted(simulation: Simulation, customer: Customer) -> bool:
    """Whether the state has the customer as this user's, and no one else has or wants the address."""
    users = simulation.population.users
    user = users.get(customer.owner or "")
    if user is None or customer.email is None or user.entangled or user.relinked or user.inherited or user.blocked:
        return False
    sharing = [each for each in users.values() if customer.email in each.emails]
    row = simulation.state.get(ShopDomain(domain(customer.shop)), [ClerkUserId(user.id)]).get(ClerkUserId(user.id))
    known = row is not None and row.customer_id == customer.id and row.status in {"in_sync", "released", "erased"}
    return known and sharing == [user] and (user.id, customer.shop) not in simulation.population.redacted


def _shown(simulation: Simulation, redaction: Redaction) -> tuple[Customer | None, frozenset[str]]:
    shops = simulation.shops
    owned = frozenset(each.id for each in shops.customers(redaction.shop) if each.owner == redaction.user)
    return shops.find(redaction.shop, redaction.customer), owned


def note_accepted(simulation: Simulation, shop: str, event: ShopifyEvent) -> None:
    """The webhook of a redaction was accepted."""
    for each in simulation.redactions:
        if each.shop == shop and each.customer in event.customers:
            each.accepted_at = each.accepted_at or simulation.scheduler.now_s


def uninstall(faults: Faults) -> None:
    """The shop refuses all access for a while, and tells that the app is gone, and that its data is to be deleted."""
    simulation, shop = faults.simulation, faults.dice.choice(SHOPS)
    sim = simulation.shops.sim(shop)
    sim.status = 401
    for topic in ("app/uninstalled", "shop/redact"):
        faults.sleep(faults.lasts(1, 120))
        event = ShopifyEvent(topic, topic, ShopDomain(domain(shop)))

        def accept(service: ManagerService, event: ShopifyEvent = event) -> None:
            before = count_rows(simulation.engine, domain(shop))
            service.accept_shopify_event(StoreName(shop), event)
            if (after := count_rows(simulation.engine, domain(shop))) < before:
                simulation.found.append(Violation(KIND, shop, f"{before - after} mappings deleted by {event.topic}"))

        deliver(simulation.scheduler, simulation.anyone, topic, accept)
    sim.status = None


# --- the verdict ----------------------------------------------------------------------------------------------------------


def count_rows(engine: Engine, shop: str) -> int:
    mapping = MappingRow.__table__
    with reading(engine) as connection:
        found = connection.execute(select(func.count()).select_from(mapping).where(mapping.c.shopify_shop == shop))
        return int(found.scalar_one())


def redaction_violations(simulation: Simulation) -> Iterator[Violation]:
    for each in simulation.redactions:
        if each.accepted_at is None:
            yield Violation(KIND, f"{each.user} in {each.shop}", "the webhook was not accepted")
            continue
        yield from kept_data(simulation.engine, each)
        if each.after is not None:
            touched_at = simulation.shops.touched.get((each.shop, each.customer), 0.0)
            is_touched = touched_at > each.accepted_at
            yield from written_since(each, _shown(simulation, each), is_touched=is_touched)


def kept_data(engine: Engine, redaction: Redaction) -> Iterator[Violation]:
    """What the state still has of the person in that shop."""
    who, shop = f"{redaction.user} in {redaction.shop}", domain(redaction.shop)
    mapping, user = MappingRow.__table__, redaction.user
    with reading(engine) as connection:
        theirs = (mapping.c.shopify_shop == shop, mapping.c.clerk_user_id == user)
        for row in connection.execute(select(mapping).where(*theirs)):
            if row.status != "erased":
                yield Violation(KIND, who, f"the mapping is {row.status}")
            if found := personal(str(row), redaction.values):
                yield Violation(KIND, who, f"the mapping has {found}")
        for table in (EventRow.__table__, BulkLineRow.__table__, FindingRow.__table__):
            columns = table.c
            named = columns.clerk_user_id == user
            if "shopify_customer_id" in columns:
                named = or_(named, columns.shopify_customer_id == redaction.customer)
            rows = connection.execute(select(table).where(columns.shopify_shop == shop, named)).all()
            if found := personal(str(rows), redaction.values):
                yield Violation(KIND, who, f"{table.name} has {found}")
        mirror = MirrorRow.__table__
        its = (mirror.c.shopify_shop == shop, mirror.c.shopify_customer_id == redaction.customer)
        if found := personal(str(connection.execute(select(mirror).where(*its)).all()), redaction.values):
            yield Violation(KIND, who, f"the mirror has {found}")


def personal(text: str, values: Collection[str]) -> str:
    """The values that are in the text."""
    return ", ".join(sorted(value for value in values if value.lower() in text.lower()))


def written_since(
    redaction: Redaction, now: tuple[Customer | None, frozenset[str]], *, is_touched: bool
) -> Iterator[Violation]:
    """What was written to the shop since the webhook was accepted. `is_touched`: staff have changed the customer since."""
    assert redaction.after is not None
    who, (customer, owned), (was, owned_before) = f"{redaction.user} in {redaction.shop}", now, redaction.after
    if more := owned - owned_before:
        yield Violation(KIND, who, f"got {', '.join(sorted(more))} after it was redacted")
    if customer != was and not is_touched:
        yield Violation(KIND, who, f"{redaction.customer} was written after it was redacted: {customer}")
