"""`reconciler undo`: reverts writes, by a plan from the recorded values before them, with the same guards."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from reconciler.cli.approval import approval_command
from reconciler.cli.commands.sync.apply import apply_each, exit_code, report_results, show_and_confirm
from reconciler.cli.context import Context
from reconciler.cli.times import moment_of
from reconciler.controller.apply.undo import apply_undo, undo_plan
from reconciler.controller.parallel import side_by_side
from reconciler.controller.scan.plan import Planned
from reconciler.core.plan.plan import build_plan
from reconciler.errors import PermanentError, UsageError
from reconciler.wiring import Components
from reconciler.wiring.plans import approve_withheld

FAILED = 1
EVENTS_MAX = 1_000_000


def undo(
    context: Context,
    *,
    since: str | None,
    digest: str | None,
    stores: tuple[str, ...],
    yes: bool,
    approve: str | None,
    output: str,
) -> int:
    if (since is None) == (digest is None):
        raise UsageError("give either --since T or --plan DIGEST", hint="reconciler undo --since 2h")
    with context.components() as components:
        moment = moment_of(since, components.clock.now()) if since is not None else None
        back = plan_revert(components, stores, since=moment, digest=digest)
        if approve is not None:
            back = approve_withheld(back, approve)
        since_or_plan = ["--since", moment.isoformat()] if moment is not None else ["--plan", str(digest)]
        again = approval_command("undo", *since_or_plan, files=context.file_options, stores=stores)
        if moment is not None:
            context.say(f"reverting what was written since {moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
        if not show_and_confirm(context, back, output=output, yes=yes, again=again):
            return FAILED
        results = apply_each(context, components, back, kind="undo", apply_store=apply_undo)
    report_results(context, results, back.plan.digest, output)
    return exit_code(context, back, results)


def plan_revert(
    components: Components, names: tuple[str, ...], *, since: datetime | None, digest: str | None
) -> Planned:
    """Plan the revert of these stores' writes."""
    chosen = {s.name: s for s in components.identify_stores(names)}
    events = {
        name: components.state.events(shop=s.shop, since=since, plan_digest=digest, limit=EVENTS_MAX)
        for name, s in chosen.items()
    }
    if digest is not None and not any(events.values()):
        raise PermanentError(f"nothing was written for a plan {digest}", hint="give the whole digest, or --since T")
    work = {name: partial(undo_plan, s, components.readers(s), events[name]) for name, s in chosen.items()}
    scan_result = side_by_side(work)
    return Planned(build_plan((s.plan for s in scan_result.values()), created_at=components.clock.now()), scan_result)
