"""What a console shows on a bad day: long names, unbroken ids, every status, every kind of change, many reasons."""

from __future__ import annotations

from datetime import timedelta

from reconciler.core.model.action import Change
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Applied, Mapping, RefusedValue, Status
from reconciler.core.report.status import StatusRow
from tests.server.services import EU, NOON, SHOP_EU, SHOP_US, US, MemoryService

LONG = "Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh-Ángeles"
UNBROKEN = ClerkUserId("user_" + "2txGgIr9lH9DZ3UpjTkG0rwXXt9" * 4)
ADA = ClerkUserId("user_2txGgIr9lH9DZ3UpjTkG0rwXXt9")
EMAIL = "a.very.long.local.part.without.any.place.to.break.it@a-domain-of-considerable-length.example.com"

Place = tuple[StoreName, ShopDomain, Status]
IN_US: Place = (US, SHOP_US, "in_sync")
IN_EU: Place = (EU, SHOP_EU, "held")


def busy(service: MemoryService) -> MemoryService:
    """Fill the service and return it."""
    service.reasons = ["nothing was finished for 600 s"]
    service.problem = "stores[3].where: 'plan' is not a mapped column"
    service.rows = [
        StatusRow(
            store=US,
            shop=SHOP_US,
            profiles=12_000,
            mapped=11_990,
            in_sync=11_000,
            pending=500,
            held={"EmailTaken": 9, "GuardExceeded": 408, "PhoneTaken": 73},
            parity=0.9167,
            oldest_request_s=7_300,
            last_sweep_at=NOON - timedelta(hours=3),
        ),
        StatusRow(
            store=EU,
            shop=SHOP_EU,
            profiles=0,
            mapped=0,
            in_sync=0,
            pending=0,
            parity=0,
            suspended=f"the shop does not answer: {LONG}",
            parity_note="the shop does not answer",
        ),
    ]
    statuses: dict[Status, ClerkUserId] = {s: ClerkUserId(f"user_{s}") for s in ("pending", "released", "erased")}
    service.mappings = [
        _mapping(user, store, shop, status) for user in (ADA, UNBROKEN) for store, shop, status in (IN_US, IN_EU)
    ]
    service.mappings += [_mapping(user, US, SHOP_US, status) for status, user in statuses.items()]
    service.events = [
        Event(
            at=NOON - timedelta(minutes=7 * n),
            store=US,
            shop=SHOP_US,
            clerk_user_id=UNBROKEN if n % 2 else ADA,
            customer_id=None,
            kind=kind,
            message="" if n % 3 else f"a message about {EMAIL}",
            changes=(Change(field="first_name", before=LONG, after=LONG[::-1], why="profile changed"),),
        )
        for n, kind in enumerate(("create", "adopt", "update", "relink", "merge", "release"))
    ]
    return service


def _mapping(user: ClerkUserId, store: StoreName, shop: ShopDomain, status: Status) -> Mapping:
    values = {"first_name": LONG, "last_name": "Lovelace", "email": EMAIL, "phone": "+16134520000"}
    return Mapping(
        clerk_user_id=user,
        store=store,
        shop=shop,
        customer_id=None if status == "held" else CustomerId("gid://shopify/Customer/700679317000000001"),
        email=None if status == "released" else EMAIL,
        status=status,
        reason={"held": "EmailTaken", "pending": "Queued"}.get(status),
        message=f"The email also belongs to {UNBROKEN}" if status == "held" else None,
        applied={name: Applied(value=value, ours=name != "phone") for name, value in values.items()},
        refused={"phone": RefusedValue(digest="d", code="TAKEN", message="Phone has already been taken")},
        last_seen_at=NOON - timedelta(minutes=5),
    )
