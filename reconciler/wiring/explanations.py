"""The explanation of one user, as `explain` and the HTTP API give it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from reconciler.controller.observe import ObserveOptions
from reconciler.controller.parallel import side_by_side
from reconciler.controller.scan.held_back import holds_between
from reconciler.controller.scan.plan import Planned, scan_store
from reconciler.core.decide.profile_rows.write import RefusedWrite, shown_mapping
from reconciler.core.model.action import Hold
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.core.plan.gather import ScanResult
from reconciler.core.plan.plan import Unaffected, build_plan
from reconciler.core.report.answer import name_of, unreadable_answer
from reconciler.core.report.explain import Explained, ExplainedStore, Recorded, explain_store
from reconciler.settings import StoreSettings
from reconciler.wiring.components import Components
from reconciler.wiring.scans import scan_target

EVENTS = 50


def explain_user(
    components: Components,
    user: ClerkUserId,
    stores: Sequence[StoreSettings],
    *,
    note_read: Callable[[], None] = lambda: None,
) -> Explained:
    """Observe the user in each of these shops, side by side, and decide; a shop that can't be read has its error in place.

    `note_read` is called after each shop.
    """
    refused = components.profile_writes.refusals([user]).get(user)
    runs = bool(components.state.replicas.replicas(now=components.state_clock.now()))
    ordered = sorted(stores, key=lambda store: store.name)

    def explain_in(store: StoreSettings) -> tuple[str, ExplainedStore]:
        explained = _explain_in(components, store, user, refused, runs=runs)
        note_read()
        return explained

    found = side_by_side({store.name: partial(explain_in, store) for store in ordered})
    name = next((name for name, _ in found.values() if name != user), None)
    return Explained(clerk_user_id=user, name=name, stores=tuple(store for _, store in found.values()))


def with_unaffected(components: Components, planned: Planned, stores: Sequence[StoreSettings]) -> Planned:
    """The plan, and why nothing is planned for those users of its decisions who are not in sync, as `explain` says it."""
    scans = dict(planned.scans)
    users = sorted({user for scan in scans.values() for user in scan.decisions})
    refusals = components.profile_writes.refusals(users)
    for store in (each for each in stores if each.name in scans):
        scan = scans[store.name]
        planned_for = {action.clerk_user_id for action in scan.plan.actions}
        planned_for |= {hold.clerk_user_id for hold in scan.plan.holds}
        found: list[Unaffected] = []
        for user, (subject, decision) in sorted(scan.decisions.items()):
            if user not in planned_for and decision.status != "in_sync":
                known = Recorded(refused=_hold_of(refusals.get(user), store, subject.mapping))
                explained = explain_store(store, subject, decision, known, now=planned.plan.created_at)
                name = name_of(user, subject.profile, subject.mapping)
                found.append(
                    Unaffected(clerk_user_id=user, name=name, status=explained.status, answer=explained.answer)
                )
        scans[store.name] = replace(scan, plan=replace(scan.plan, unaffected=tuple(found)))
    plan = build_plan((scan.plan for scan in scans.values()), created_at=planned.plan.created_at)
    return replace(planned, plan=plan, scans=scans)


def _hold_of(refused: RefusedWrite | None, store: StoreSettings, mapping: Mapping | None) -> Hold | None:
    """The hold of a user where Clerk's values can't be written to the profile row, and this store wants them."""
    return refused.hold(mapping) if refused is not None and refused.concerns(store) else None


def _explain_in(
    components: Components, store: StoreSettings, user: ClerkUserId, refused: RefusedWrite | None, *, runs: bool
) -> tuple[str, ExplainedStore]:
    """What to call the user, and the explanation."""
    written = components.state.mappings.events(user=user, shop=store.shop, limit=EVENTS)
    events = tuple(replace(event, shop=store.domain) for event in written)
    now = components.clock.now()
    ask = ObserveOptions(now=now, users=[user], explicit=False, keep_all=True)
    scan_result: ScanResult = scan_store(store, components.readers(store), ask)
    concerned = refused if refused is not None and refused.concerns(store) else None
    if scan_result.plan.error is not None:
        row = components.state.mappings.get(store.shop, [user]).get(user)
        if concerned is not None:
            row = shown_mapping(store, concerned, row)
        name = name_of(user, None, row)
        return name, ExplainedStore(
            store=store.name,
            shop=store.domain,
            answer=unreadable_answer(name, store.name, scan_result.plan.error, row, now=now),
            error=scan_result.plan.error,
            error_hint=scan_result.plan.error_hint,
            status=row.status if row is not None and row.status != "in_sync" else "unknown",
            reason=row.reason if row else None,
            customer_id=row.customer_id if row else None,
            events=events,
        )
    subject, decision = scan_result.decisions[user]
    target = scan_target(components, store, ask)
    unknown = target.plan if target is not None and target.plan.error is not None else None
    if target is not None and unknown is None and store.held_back is not None:
        parts = (decision.action, *(hold.action for hold in decision.holds))
        planned = [part for part in parts if part is not None]
        held = tuple(holds_between(planned, target.plan.actions, store.held_back))
        status = "held" if held and decision.action is None else decision.status
        decision = replace(decision, holds=(*decision.holds, *held), status=status)
    facts = components.state.mappings.facts(store.shop)
    proofs = events  # all events there are, or the consents are sought apart, which may be older
    if len(events) == EVENTS:
        proofs = tuple(components.state.mappings.events(user=user, shop=store.shop, consents=True))
    known = Recorded(
        events=events,
        proofs=proofs,
        refused=_hold_of(refused, store, subject.mapping),
        suspended=facts.suspended_reason if facts else None,
        next_try_at=components.state.doubts.due_at(store.name, user),
        runs=runs,
    )
    name = name_of(user, subject.profile, subject.mapping)
    explained = explain_store(store, subject, decision, known, now=now)
    if unknown is not None:
        explained = replace(explained, wave_error=unknown.error or "", wave_hint=unknown.error_hint)
    return name, explained
