"""What `apply` does to a rollout: it opens the wave that its plan is of, and judges it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from reconciler.cli.context import Context
from reconciler.cli.render.rollout import headline
from reconciler.controller.scan.plan import Planned
from reconciler.core.fields.desired import config_digest
from reconciler.core.report.rollout import RolloutReport
from reconciler.core.report.status import ApplyResult
from reconciler.errors import PlanRefused
from reconciler.wiring import Components


def begin_wave(context: Context, components: Components, planned: Planned) -> datetime:
    """Make the step of the rollout that the plan was made with; return when. ConfigError; PlanRefused if it moved since."""
    rollouts = components.rollouts
    if rollouts is None:
        components.end_waves()
        return components.clock.now()
    if not planned.narrowed:
        rollouts.advance(context.actor, named=[part.store for part in planned.plan.stores])
    now = components.clock.now()
    planned_by = {part.store: part.config_digest for part in planned.plan.stores if part.error is None}
    for store in components.stores():
        if store.name in planned_by and config_digest(store) != planned_by[store.name]:
            raise PlanRefused(
                f"the rollout has moved since the plan: {store.name} has another policy", hint="plan again"
            )
    return now


def end_wave(
    context: Context, components: Components, planned: Planned, results: Sequence[ApplyResult], *, since: datetime
) -> RolloutReport | None:
    """Record which stores were passed over whole, by the policies that they had at `since`, and judge the wave.

    None if no rollout was under way. Another process may have opened a wave since; it waits for a pass of its own.
    """
    rollouts = components.rollouts
    if rollouts is None or planned.narrowed:
        return None
    whole = {r.store for r in results if r.error is None and all(f.result != "not tried" for f in r.failed)}
    shops = [store.shop for store in components.stores() if store.name in whole]
    rollouts.note_synced(shops, since=since)
    before = rollouts.read().rollout
    state = rollouts.advance(context.actor, may_begin=False, may_open=False)
    return rollouts.report(state) if before is not None and before.is_under_way else None


def report_wave(context: Context, report: RolloutReport | None) -> None:
    """Say on stderr how far the rollout is, or that it has ended."""
    if report is not None:
        for line in headline(report):
            context.say(line)
