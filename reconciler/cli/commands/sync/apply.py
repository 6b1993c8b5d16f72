"""`reconciler apply`: applies a saved plan, or makes a plan, shows it and applies it after a confirmation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path

from rich.progress import Progress, TaskID

from reconciler.cli.approval import approval_command
from reconciler.cli.commands.sync.plan import make_plan, show
from reconciler.cli.commands.sync.wave import begin_wave, end_wave, report_wave
from reconciler.cli.context import Context, print_parts
from reconciler.cli.files import plan_file as planfile
from reconciler.cli.files.pairs import Pairs
from reconciler.cli.render import outputs as render
from reconciler.cli.render.parts import irreversible_in, totals_of
from reconciler.cli.render.plain import count_text, seconds_text, time_text
from reconciler.cli.render.text import Detail
from reconciler.cli.times import PLAN_MAX_AGE, duration_of
from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.bulk.context import BulkContext, BulkRunProgress
from reconciler.controller.context import StoreContext
from reconciler.controller.runs import record_run
from reconciler.controller.scan.plan import Planned
from reconciler.controller.scan.spool import Spool
from reconciler.controller.step import Outcome
from reconciler.core.fields.desired import config_digest
from reconciler.core.model.action import Hold, hold_order
from reconciler.core.model.ids import StoreName
from reconciler.core.model.run import NewRun, RunKind
from reconciler.core.plan.gather import ScanResult
from reconciler.core.report.rollout import RolloutReport
from reconciler.core.report.status import ApplyResult, Failure, counts_of_results
from reconciler.errors import PlanRefused, StateError, UsageError
from reconciler.settings import StoreSettings, environment
from reconciler.wiring import Components
from reconciler.wiring.plans import approve_withheld, execute_plan, refuse_pending_bulk, stores_to_apply

FAILED = 1


def apply(
    context: Context,
    *,
    planfile_: Path | None,
    stores: tuple[str, ...],
    users: tuple[str, ...],
    live: bool,
    yes: bool,
    approve: str | None,
    max_age: str | None,
    bulk: str,
    detail: Detail,
    output: str,
) -> int:
    if planfile_ is not None and (stores or users or live):
        raise UsageError("a saved plan is applied as it is", hint="omit --store, --user and --live, or PLANFILE")
    if planfile_ is None and max_age is not None:
        raise UsageError("--max-age is for a saved plan", hint="omit it, or name the file: reconciler apply FILE")
    oldest = duration_of(max_age or PLAN_MAX_AGE)
    with context.components() as components:
        if planfile_:
            planned, seal = load_saved_plan(planfile_, context, components, max_age=oldest)
        else:
            planned, seal = make_plan(context, components, stores, users, live=live), ""
        if approve is not None:
            planned = approve_withheld(planned, approve)
        file = [str(planfile_)] if planfile_ else []
        age = ["--max-age", max_age] if max_age is not None else []
        again = approval_command(
            "apply", *file, *age, files=context.file_options, stores=stores, users=users, live=live
        )
        if not show_and_confirm(
            context, planned, output=output, detail=detail, yes=yes, known=planfile_ is not None, again=again
        ):
            return FAILED
        if seal and not components.state.applied_plans.mark_applied(seal, components.state_clock.now()):
            raise PlanRefused(f"{planfile_} was already applied: a saved plan applies once", hint="plan again")
        if approve is not None:
            components.acts(context.actor).note("approve", detail={"digest": approve})
        since = begin_wave(context, components, planned)
        results = apply_each(
            context,
            components,
            planned,
            kind="apply",
            apply_store=partial(apply_plan, fresh=planfile_ is None),
            bulk=bulk,
            insists=planned.narrowed,
        )
        report = end_wave(context, components, planned, results, since=since)
    report_results(context, results, planned.plan.digest, output, rollout=report)
    code = exit_code(context, planned, results)
    report_wave(context, report)
    return code


def report_results(
    context: Context, results: Sequence[ApplyResult], digest: str, output: str, *, rollout: RolloutReport | None = None
) -> None:
    """Print the results to stdout or, if it is closed, to stderr."""
    with context.tolerate_closed_stdout():
        if output == "json":
            print_parts(render.results_json(results, digest, rollout))
        else:
            render.print_results(results, context.out)
    if context.out_closed:
        render.print_results(results, context.err)


def exit_code(context: Context, planned: Planned, results: Sequence[ApplyResult]) -> int:
    """0 if nothing failed; otherwise 1, after printing what failed in each store to stderr."""
    failed = [context.report_error(store) for store in planned.plan.stores]
    for result in results:
        first = next(iter(result.failed), None)
        if first is not None:
            what = f"{count_text(len(result.failed), 'action')} not applied, the first for {first.clerk_user_id}"
            hint = first.hint or f"reconciler explain {first.clerk_user_id}"
            context.report_failure(result.store, f"{what}: {first.message}", hint)
            failed.append(True)
    return FAILED if any(failed) else 0


def show_and_confirm(
    context: Context,
    planned: Planned,
    *,
    output: str,
    detail: Detail = "examples",
    yes: bool,
    known: bool = False,
    again: str,
) -> bool:
    """Show the plan, ask for a confirmation and return the answer. True without asking if there is nothing to do.

    A `known` plan (saved, so it was shown before) is summarised only if no confirmation is needed. `again` is the command
    that approves the withheld actions, without the digest.
    """
    actions = planned.plan.summary.actions
    if known and yes:
        context.say(
            f"{totals_of(planned.plan.summary, planned.plan.stores)}, made {time_text(planned.plan.created_at)}\n"
            f"digest {planned.plan.digest}"
        )
    elif output == "text":
        with context.tolerate_closed_stdout():
            show(context, planned, "text", detail=detail, approve=again)
    elif actions and not yes:
        render.print_plan(planned.plan, context.err, approve=again)
    return not actions or yes or _confirm_actions(context, actions, irreversible_in(planned.plan.stores))


def load_saved_plan(path: Path, context: Context, components: Components, *, max_age: timedelta) -> tuple[Planned, str]:
    """Load a saved plan and its seal. PlanRefused if it is too old, or the config of one of its stores has changed."""
    saved, seal = planfile.load(path, key=environment().get("RECONCILER_PLAN_KEY"), program=version("customer-parity"))
    age = components.clock.now() - saved.plan.created_at
    if age > max_age:
        raise PlanRefused(
            f"{path} is {seconds_text(age.total_seconds())} old, more than {seconds_text(max_age.total_seconds())}",
            hint="plan again, or allow it with --max-age",
        )
    narrow = components.identify_stores() if saved.narrowed else components.upcoming_stores(context.actor)
    known = {s.name: s for s in narrow}
    for part in saved.plan.stores:
        store = known.get(part.store)
        if store is None or store.domain != part.shop:
            raise PlanRefused(f"{path} contains store {part.store}, which is not configured", hint="plan again")
        if part.error is None and config_digest(store) != part.config_digest:
            raise PlanRefused(f"{path} is refused: the config of {part.store} has changed", hint="plan again")
    scan_result = {
        p.store: ScanResult(plan=p, withheld=saved.withheld.get(str(p.store), ()), whole=False)
        for p in saved.plan.stores
    }
    return Planned(saved.plan, scan_result, narrowed=saved.narrowed), seal


def apply_each(
    context: Context,
    components: Components,
    planned: Planned,
    *,
    kind: RunKind,
    apply_store: Callable[[ScanResult, StoreContext], Iterator[Outcome]],
    bulk: str = "never",
    insists: bool = False,
    assigned: Pairs | None = None,
) -> tuple[ApplyResult, ...]:
    """Apply the plan of each store as one run, and count the outcomes. `bulk`: auto, never or always.

    `assigned`: the pairs that the plan was made with; each action is checked again with them.
    """
    chosen = stores_to_apply(components, planned, assigning=assigned is not None)
    if bulk == "never":
        refuse_pending_bulk(components, chosen.values())
    tallies = {name: _Tally() for name in chosen}
    started = components.clock.now()
    new_run = NewRun(kind, tuple(chosen), context.actor, components.state.leases.new_holder(), planned.plan.digest)
    with record_run(components.state.runs, new_run, components.state_clock) as run, context.progress() as progress:
        bars = {
            name: progress.add_task(f"applying to {name}", total=planned.scans[name].plan.summary.actions)
            for name in chosen
        }

        def bulk_tier(store: StoreSettings) -> BulkContext | None:
            if bulk == "never":
                return None
            show_progress = partial(_show_bulk, progress, bars[store.name], store.name)
            return components.bulk(store, always=bulk == "always", tell=show_progress)

        outcomes = execute_plan(
            components, planned, chosen, run_id=run.id, apply_store=apply_store, insists=insists, bulk_tier=bulk_tier,
            assigned=assigned,
        )  # fmt: skip
        try:
            with closing(outcomes):  # on Ctrl-C, actions in progress end first
                for name, outcome in outcomes:
                    tallies[name].add(outcome)
                    progress.advance(bars[name], 1)
        except StateError as error:
            done = sum(tally.applied.total() for tally in tallies.values())
            ended = f"it ended after {done} of {count_text(planned.plan.summary.actions, 'action')}"
            raise StateError(
                f"{error.message}; {ended}",
                hint="when the state answers, plan and apply again: what is done stays, and is not done twice",
            ) from error
        finally:
            seconds = (components.clock.now() - started).total_seconds()
            results = tuple(_result(p.store, planned.scans[p.store], tallies, seconds) for p in planned.plan.stores)
            run.counts = counts_of_results(results)
        run.outcome = "failed" if run.counts.failures or any(r.error for r in results) else "done"
    return results


def _show_bulk(progress: Progress, bar: TaskID, name: StoreName, so_far: BulkRunProgress) -> None:
    left = f", about {seconds_text(so_far.left_s)} left" if so_far.left_s else ""
    lines = f"{so_far.run:,} of {so_far.lines:,} lines run{left}" if so_far.lines else "reading answers"
    progress.update(bar, description=f"applying to {name} in bulk: {lines}")


@dataclass
class _Tally:
    applied: Counter[str] = field(default_factory=Counter)
    done_already: int = 0
    failed: Spool[Failure] = field(default_factory=lambda: Spool(Failure, attrgetter("clerk_user_id")))
    holds: Spool[Hold] = field(default_factory=lambda: Spool(Hold, hold_order))
    points: int = 0

    def add(self, outcome: Outcome) -> None:
        action = outcome.action
        for hold in outcome.holds:
            self.holds.add(hold)
        if outcome.result == "applied":
            self.applied[action.kind] += 1
            self.points += action.cost_points
        elif outcome.result == "done already":
            self.done_already += 1
        else:
            failure = Failure(
                clerk_user_id=action.clerk_user_id,
                kind=action.kind,
                result=outcome.result,
                message=outcome.message,
                hint=outcome.hint,
            )
            self.failed.add(failure)


def _result(
    name: StoreName, scan_result: ScanResult, tallies: MappingOf[StoreName, _Tally], seconds: float
) -> ApplyResult:
    tally = tallies.get(name) or _Tally()
    return ApplyResult(
        store=name,
        applied=dict(tally.applied),
        done_already=tally.done_already,
        failed=tally.failed.whole(),
        held=len(scan_result.plan.holds) + len(tally.holds),
        holds=tally.holds.whole(),
        error=scan_result.plan.error,
        points_spent=tally.points,
        seconds=seconds,
    )


def _confirm_actions(context: Context, actions: int, never: str) -> bool:
    what = count_text(actions, "action") + (f" ({never})" if never else "")
    question = f"Apply this {what.removeprefix('1 ')}?" if actions == 1 else f"Apply these {what}?"
    return context.confirm(question, waiting=f"{what} {'needs' if actions == 1 else 'need'} a confirmation")
