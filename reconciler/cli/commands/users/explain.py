"""`reconciler explain USER`: for each shop the spec, the observed customer, the holds and the next action."""

from __future__ import annotations

from dataclasses import replace

import click

from reconciler.cli.context import Context
from reconciler.cli.render import explain as render_explain
from reconciler.cli.users import resolve_users
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.scan.plan import scan_store
from reconciler.core.decide.profile_rows.write import RefusedWrite, shown_mapping
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.plan.gather import ScanResult
from reconciler.core.report.explain import Explained, ExplainedStore, explain_store, withhold_refused
from reconciler.settings import StoreSettings
from reconciler.wiring import Components

FAILED = 1
EVENTS = 50


def explain(
    context: Context,
    *,
    user: str,
    stores: tuple[str, ...],
    output: str,
) -> int:
    with context.components() as components:
        name = resolve_users(components, [user])[0]
        refused = components.profile_writes.refusals([name]).get(name)
        parts = tuple(
            _of(context, components, store, name, refused)
            for store in sorted(components.identify_stores(stores), key=lambda s: s.name)
        )
    found = Explained(clerk_user_id=name, stores=parts)
    if output == "json":
        click.echo(render_explain.explain_json(found))
    else:
        render_explain.print_explained(found, context.out)
    return FAILED if any(s.error for s in parts) else 0


def _of(
    context: Context, components: Components, store: StoreSettings, user: ClerkUserId, refused: RefusedWrite | None
) -> ExplainedStore:
    written = components.state.events(user=user, shop=store.shop, limit=EVENTS)
    events = tuple(replace(event, shop=store.domain) for event in written)
    ask = ObserveOptions(now=components.clock.now(), users=[user], explicit=False, keep_all=True)
    scan_result: ScanResult = scan_store(store, components.readers(store), ask)
    if scan_result.plan.error is not None:
        context.report_failure(store.name, scan_result.plan.error, scan_result.plan.error_hint)
        row = components.state.get(store.shop, [user]).get(user)
        if refused is not None and refused.concerns(store):
            row = shown_mapping(store, refused, row)
        return ExplainedStore(
            store=store.name,
            shop=store.domain,
            error=scan_result.plan.error,
            status=row.status if row is not None and row.status != "in_sync" else "unknown",
            reason=row.reason if row else None,
            customer_id=row.customer_id if row else None,
            events=events,
        )
    subject, decision = scan_result.decisions[user]
    facts = components.state.facts(store.shop)
    known = withhold_refused(subject, decision, suspended=facts.suspended_reason if facts else None)
    held = refused.hold(subject.mapping) if refused is not None and refused.concerns(store) else None
    return explain_store(store, subject, known, events, refused=held)
