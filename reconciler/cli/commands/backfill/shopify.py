"""`reconciler backfill shopify`: fills a shop's mirror in the state, by a bulk query over all customers.

It may be stopped at any time. The next run continues the same bulk query after the lines that are stored.
"""

from __future__ import annotations

from dataclasses import asdict
from threading import Event

import click

from reconciler.cli.context import Context
from reconciler.cli.render.json import dumps
from reconciler.controller.mirror.refresh import Filled, Progress, fill
from reconciler.controller.runs import record_run
from reconciler.core.model.run import NewRun, RunCounts
from reconciler.errors import AccessError, ConfigError, PermanentError, TemporaryError
from reconciler.settings import StoreSettings
from reconciler.wiring import Components

FAILED = 1
WORDS = {"running": "reading {}", "storing": "storing {}"}


def backfill_shopify(
    context: Context,
    *,
    stores: tuple[str, ...],
    output: str,
) -> int:
    done: dict[str, Filled] = {}
    errors: dict[str, str] = {}
    with context.components() as components:
        for store in components.identify_stores(stores):
            try:
                done[store.name] = _fill_mirror(context, components, store)
            except (AccessError, ConfigError, PermanentError, TemporaryError) as error:
                errors[store.name] = error.message
                context.report_failure(store.name, error.message, error.hint)
    if output == "json":
        results = [{"store": name, "error": None, **asdict(found)} for name, found in done.items()]
        results += [{"store": name, "error": message} for name, message in errors.items()]
        click.echo(dumps({"stores": sorted(results, key=lambda one: str(one["store"]))}))
    else:
        for name, found in done.items():
            context.out.print(
                f"{name}: {found.lines} customers read, {found.moved} new or changed, {found.gone} deleted",
                markup=False,
            )
    return FAILED if errors else 0


def _fill_mirror(context: Context, components: Components, store: StoreSettings) -> Filled:
    never = Event()  # never set: Ctrl-C ends the command, and the next run continues
    with context.progress() as progress:
        bars = {doing: progress.add_task(words.format(store.name), total=None) for doing, words in WORDS.items()}

        def show(step: Progress) -> None:
            progress.update(bars[step.doing], completed=step.done, total=step.total)

        new_run = NewRun("backfill_shopify", (store.name,), context.actor, components.state.leases.new_holder())
        with record_run(components.state.runs, new_run, components.state_clock) as run:
            filled = fill(components.mirror(store, wait=lambda seconds: not never.wait(seconds), progress=show))
            run.counts = RunCounts(users=filled.lines)
            run.outcome = "done" if filled.whole else "stopped"
        return filled
