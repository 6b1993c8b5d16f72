"""`reconciler drift`: reports changes made in Shopify, apart from changes of ours that are not applied yet. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import click

from reconciler.cli.context import Context
from reconciler.cli.render import drift as render_drift
from reconciler.cli.render.plain import count_text
from reconciler.cli.scan_bars import scan_bars
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.scan.held_back import holds_between
from reconciler.controller.scan.plan import plan_stores
from reconciler.core.report.drift import Drift, StoreDrift, drift_of, with_held_back, without_switches
from reconciler.wiring import Components
from reconciler.wiring.scans import scan_target

FAILED, INTENT, DRIFT, BOTH = 1, 2, 3, 4


def report_drift(
    context: Context,
    *,
    stores: tuple[str, ...],
    output: str,
    everything: bool,
) -> int:
    with context.components() as components:
        found = _find_drift(context, components, stores)
    if output == "json":
        click.echo(render_drift.drift_json(found))
    else:
        render_drift.print_drift(found, context.out, everything=everything)
    for store in found.stores:
        context.report_error(store)
        if store.not_read:
            users = len({each.clerk_user_id for each in store.not_read})
            message = f"fields of {count_text(users, 'user')} could not be read, so their drift is unknown"
            context.report_failure(store.store, message, f"reconciler explain {store.not_read[0].clerk_user_id}")
    return drift_exit_code(found)


def _find_drift(context: Context, components: Components, names: Sequence[str]) -> Drift:
    """Scan these stores as if both switches were on, and without guards."""
    with scan_bars(context, components.profiles.count) as bar:
        chosen = components.identify_stores(names)
        now = components.clock.now()
        readers = {s.name: (without_switches(s), components.readers(s)) for s in chosen}
        ask = ObserveOptions(now=now, explicit=False, guards=False, keep_all=True)
        planned = plan_stores(readers, ask, progress=bar)
        held_back = {s.name: s.held_back for s in chosen if s.held_back is not None}
        once = replace(ask, keep_all=False)
        found = ((s.name, scan_target(components, s, once)) for s in chosen)
        targets = {name: target for name, target in found if target is not None}
    stores = []
    for plan in planned.plan.stores:
        target = targets.get(plan.store)
        if plan.error is not None:
            stores.append(StoreDrift(store=plan.store, shop=plan.shop, error=plan.error, error_hint=plan.error_hint))
            continue
        drift = drift_of(readers[plan.store][0], planned.scans[plan.store].decisions.values())
        if target is not None and target.plan.error is not None:
            drift = replace(drift, wave_error=target.plan.error, wave_hint=target.plan.error_hint)
        elif target is not None:
            holds = holds_between(plan.actions, target.plan.actions, held_back[plan.store])
            drift = with_held_back(drift, holds)
        stores.append(drift)
    return Drift(at=now, stores=tuple(stores))


def drift_exit_code(found: Drift) -> int:
    """The exit code; a store, a field or a wave that is not known takes precedence."""
    if any(s.error or s.not_read or s.wave_error for s in found.stores):
        return FAILED
    drift, intent = any(s.drift for s in found.stores), any(s.intent for s in found.stores)
    return BOTH if drift and intent else DRIFT if drift else INTENT if intent else 0
