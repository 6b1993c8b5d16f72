"""`reconciler plan`: looks, decides, changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import click

from reconciler.cli import planfile, render
from reconciler.cli.context import Context
from reconciler.controller.fleet import Planned, plan_stores
from reconciler.controller.sweep import Ask, Progress
from reconciler.core.ids import ClerkUserId, StoreName
from reconciler.settings import environment
from reconciler.wiring import House

FAILED, ACTIONS = 1, 2
OUTPUTS = ("text", "json", "markdown", "html")


@click.command("plan")
@click.option("--store", "stores", multiple=True, metavar="N", help="Only this store; may be repeated.")
@click.option("--user", "users", multiple=True, metavar="ID", help="Only this Clerk user; may be repeated.")
@click.option("--output", type=click.Choice(OUTPUTS), default="text", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Save a sealed plan.")
@click.option("--all", "everything", is_flag=True, help="Text: show each action and hold, however many there are.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 if there is an action.")
@click.pass_obj
def command(
    context: Context,
    stores: tuple[str, ...],
    users: tuple[str, ...],
    output: str,
    out: Path | None,
    everything: bool,  # noqa: FBT001  click's call
    detailed_exitcode: bool,  # noqa: FBT001  click's call
) -> int:
    """Show what `apply` would do. Reads only: nothing in a shop or in the state changes."""
    with context.house() as house:
        planned = planned_by(context, house, stores, users)
    show(context, planned, output, everything=everything)
    if out is not None:
        save(planned, out, narrowed=bool(users))
        context.say(f"saved as {out}; apply it with: reconciler apply {out}")
    if any(s.error for s in planned.plan.stores):
        return FAILED
    return ACTIONS if detailed_exitcode and planned.plan.summary.actions else 0


def planned_by(context: Context, house: House, stores: Sequence[str], users: Sequence[str]) -> Planned:
    """The plan of these stores (all, if none is named) for these users (all, if none is named)."""
    chosen = house.stores(stores)
    names = [ClerkUserId(u) for u in users] if users else None
    readers = {s.name: (s, house.readers(s)) for s in chosen}
    total = None if names else house.profiles.count()
    with context.progress() as progress:

        def bar(store: StoreName) -> Progress:
            task = progress.add_task(f"looking at {store}", total=total)

            def advance(count: int) -> None:
                progress.advance(task, count)

            return advance

        return plan_stores(readers, Ask(now=house.clock.now(), users=names), progress=bar)


def show(context: Context, planned: Planned, output: str, *, everything: bool = False) -> None:
    """Print the plan to stdout."""
    match output:
        case "json":
            click.echo(render.plan_json(planned.plan))
        case "markdown":
            click.echo(render.plan_markdown(planned.plan))
        case "html":
            click.echo(render.plan_html(planned.plan))
        case _:
            render.plan_text(planned.plan, context.out, everything=everything)


def save(planned: Planned, path: Path, *, narrowed: bool) -> None:
    """Seal the plan and write it."""
    saved = planfile.SavedPlan(
        program=version("customer-parity"),
        narrowed=narrowed,
        plan=planned.plan,
        withheld={str(name): swept.withheld for name, swept in planned.swept.items() if swept.withheld},
    )
    planfile.save(saved, path, key=environment().get("RECONCILER_PLAN_KEY"))
