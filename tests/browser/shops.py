"""What a console shows on a bad day: long names, unbroken ids, every status, every kind of change, many reasons."""

from __future__ import annotations

from datetime import timedelta

from reconciler.core.model.act import Acceptance, Act, Actor
from reconciler.core.model.action import AcceptedDrift, Action, Change, Hold
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Applied, Mapping, RefusedValue, Status
from reconciler.core.model.run import Run, RunCounts, RunKind, RunOutcome
from reconciler.core.plan.plan import StorePlan, Summary
from reconciler.core.report.explain import Explained, ExplainedField, ExplainedStore, Next
from reconciler.core.report.parity import ParitySample
from reconciler.core.report.status import StatusRow
from tests.server.services import EU, NOON, SHOP_EU, SHOP_US, US, MemoryService, stopped_rollout

LONG = "Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh-Ángeles"
RIGHT_TO_LEFT = ("دجلة", "بوستة")
UNBROKEN = ClerkUserId("user_" + "2txGgIr9lH9DZ3UpjTkG0rwXXt9" * 4)
ADA = ClerkUserId("user_2txGgIr9lH9DZ3UpjTkG0rwXXt9")
EMAIL = "a.very.long.local.part.without.any.place.to.break.it@a-domain-of-considerable-length.example.com"

Place = tuple[StoreName, ShopDomain, Status]
RUNS: tuple[tuple[RunKind, RunOutcome], ...] = (
    ("apply", "done"), ("full_resync", "failed"), ("undo", "interrupted"), ("backfill_shopify", "running"),
)  # fmt: skip
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
            profiles=1_200_000,
            mapped=1_199_000,
            in_sync=1_100_000,
            pending=98_765,
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
            changes=(
                Change(field="first_name", before=LONG, after=LONG[::-1], why="profile changed"),
                Change(field="last_name", before=RIGHT_TO_LEFT[0], after=RIGHT_TO_LEFT[1], why="profile changed"),
            ),
            run_id=2 if n < 2 else None,
        )
        for n, kind in enumerate(("create", "adopt", "update", "relink", "merge", "release"))
    ]
    service.all_runs = [_run(number, kind, outcome) for number, (kind, outcome) in enumerate(RUNS, start=1)]
    service.all_acts = [
        Act(at=NOON - timedelta(hours=1), actor=Actor(LONG, "console"), kind="pause", store=US),
        Act(at=NOON - timedelta(hours=2), actor=Actor("ops", "command"), kind="forget", user=ADA),
    ]
    service.samples = [
        ParitySample(
            shop=shop,
            at=NOON - timedelta(hours=6 * n),
            profiles=6_000,
            in_sync=5_900 - 40 * (n % 9),
            pending=10,
            held=90,
            parity=None if n == 20 else (5_900 - 40 * (n % 9)) / 6_000,
        )
        for n in range(118)
        for shop in (SHOP_US, SHOP_EU)
    ]
    service.plans[US] = _plan()
    service.waves = stopped_rollout()
    service.explained[ADA] = Explained(clerk_user_id=ADA, name=LONG, stores=(_explained(),))
    return service


def _run(number: int, kind: RunKind, outcome: RunOutcome) -> Run:
    return Run(
        id=number,
        kind=kind,
        stores=(US, EU),
        actor=Actor("a-person-with-a-long-name", "command"),
        began_at=NOON - timedelta(minutes=9 * number),
        ended_at=None if outcome in {"running", "interrupted"} else NOON - timedelta(minutes=8 * number),
        outcome=outcome,
        counts=RunCounts(users=12_000, actions={"create": 1_200, "update": 7}, holds=408, failures=number),
        plan_digest="sha256:" + "0123456789abcdef" * 4,
        message="the shop does not answer: " + EMAIL if outcome == "failed" else "",
    )


def _plan() -> StorePlan:
    """Two actions, and 408 updates withheld by a guard with one change, of which few are kept."""
    club = Change(field="tags", before=["app-user"], after=["app-user", "club"], why="config changed")
    name = Change(field="first_name", before=LONG, after=LONG[::-1], why="drift")

    def update(user: ClerkUserId, *changes: Change) -> Action:
        return Action(
            kind="update",
            clerk_user_id=user,
            customer_id=CustomerId("gid://shopify/Customer/7"),
            changes=changes,
            cost_points=10,
            email=EMAIL,
            name=LONG,
        )

    holds = [
        Hold(
            clerk_user_id=ClerkUserId(f"user_{n}"),
            customer_id=None,
            reason="GuardExceeded",
            message="408 update actions are above the ceiling of 60",
            who_acts="operator",
            action=update(ClerkUserId(f"user_{n}"), club),
        )
        for n in range(8)
    ]
    summary = Summary(update=2, hold=408, in_sync=11_000)
    actions = (update(ADA, name), update(UNBROKEN, name, club))
    return StorePlan(store=US, shop=SHOP_US, summary=summary, actions=actions, holds=tuple(holds))


def _explained() -> ExplainedStore:
    fields = (
        ExplainedField(field="email", policy="enforce", owner="reconciler", wanted=EMAIL, observed=EMAIL),
        ExplainedField(
            field="first_name", policy="enforce", owner="reconciler", wanted=LONG, observed=LONG[::-1], equal=False,
            why="drift", last_written_at=NOON - timedelta(days=2),
        ),
        ExplainedField(field="metafields.clerk.avatar_url", policy="enforce", owner="reconciler", shown=False),
    )  # fmt: skip
    return ExplainedStore(
        store=US,
        shop=SHOP_US,
        status="pending",
        customer_id="gid://shopify/Customer/700679317000000001",
        wanted={"email": EMAIL},
        observed={"email": EMAIL},
        fields=fields,
        next=Next(does="update first_name"),
        acceptances=(
            AcceptedDrift(
                clerk_user_id=ADA,
                customer_id=CustomerId("gid://shopify/Customer/7"),
                change=Change(field="last_name", before=LONG[::-1], after=LONG, why="drift"),
                until=NOON + timedelta(days=30),
                by=f"{LONG} (console)",
            ),
        ),
        last_write_at=NOON - timedelta(days=2),
    )


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
        accepted=Acceptance(("first_name", "tags"), NOON + timedelta(days=3), Actor(LONG, "console"), NOON),
    )
