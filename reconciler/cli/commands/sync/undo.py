"""`reconciler undo`: reverts writes, by a plan from the recorded values before them, with the same guards."""

from __future__ import annotations

from datetime import UTC

from reconciler.cli.approval import approval_command
from reconciler.cli.commands.sync.apply import apply_each, exit_code, report_results, show_and_confirm
from reconciler.cli.context import Context
from reconciler.cli.times import moment_of
from reconciler.controller.apply.undo import apply_undo
from reconciler.errors import UsageError
from reconciler.wiring.plans import approve_withheld, plan_revert

FAILED = 1


def undo(
    context: Context,
    *,
    since: str | None,
    digest: str | None,
    run_id: int | None,
    stores: tuple[str, ...],
    yes: bool,
    approve: str | None,
    output: str,
) -> int:
    if sum(each is not None for each in (since, digest, run_id)) != 1:
        raise UsageError("give one of --since T, --plan DIGEST and --run N", hint="reconciler undo --since 2h")
    with context.components() as components:
        moment = moment_of(since, components.clock.now()) if since is not None else None
        chosen = components.identify_stores(stores)
        back = plan_revert(components, chosen, since=moment, digest=digest, run_id=run_id)
        if approve is not None:
            back = approve_withheld(back, approve)
        what = {"--since": moment.isoformat() if moment is not None else None, "--plan": digest, "--run": run_id}
        named = [word for option, value in what.items() if value is not None for word in (option, str(value))]
        again = approval_command("undo", *named, files=context.file_options, stores=stores)
        if moment is not None:
            context.say(f"reverting what was written since {moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
        if not show_and_confirm(context, back, output=output, yes=yes, again=again):
            return FAILED
        results = apply_each(context, components, back, kind="undo", apply_store=apply_undo)
    report_results(context, results, back.plan.digest, output)
    return exit_code(context, back, results)
