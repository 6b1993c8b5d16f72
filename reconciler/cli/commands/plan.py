"""`reconciler plan`: looks, decides, changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import click

from reconciler.cli.approval import APPROVE, approval
from reconciler.cli.context import Context, poured
from reconciler.cli.files import plan_file as planfile
from reconciler.cli.render import outputs as render
from reconciler.cli.render.plain import clean, counted, time_text
from reconciler.cli.users import user_id, users_named
from reconciler.controller.mirror.check_mirrors import check_mirrors
from reconciler.controller.mirror.remember import remember
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.resync import BULK_FROM
from reconciler.controller.scan import Progress
from reconciler.controller.stores import Planned, plan_stores
from reconciler.core.model.ids import StoreName
from reconciler.core.plan.plan import StorePlan
from reconciler.errors import UsageError
from reconciler.settings import environment
from reconciler.wiring import Components

FAILED, ACTIONS = 1, 2
OUTPUTS = ("text", "json", "markdown", "html")


@click.command("plan")
@click.option("--store", "stores", multiple=True, metavar="N", help="Only this store; may be repeated.")
@click.option(
    "--user", "users", type=user_id, multiple=True, metavar="ID", help="Only this Clerk user; may be repeated."
)
@click.option("--output", type=click.Choice(OUTPUTS), default="text", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Save a sealed plan.")
@click.option("--live", is_flag=True, help="Read every customer, whatever the shop's mirror says.")
@click.option("--all", "everything", is_flag=True, help="Text: show each action and hold, however many there are.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 if there is an action.")
@click.pass_obj
def command(
    context: Context,
    stores: tuple[str, ...],
    users: tuple[str, ...],
    output: str,
    out: Path | None,
    live: bool,  # noqa: FBT001  click's call
    everything: bool,  # noqa: FBT001  click's call
    detailed_exitcode: bool,  # noqa: FBT001  click's call
) -> int:
    """Show what `apply` would do. Change nothing in a shop, and no user's mapping in the state.

    If `backfill shopify` has filled a shop's mirror, it is brought up to date, and customers that it proves in sync are
    not read again (docs/tasks/large-shops.md). With --live every customer is read, and nothing is written.
    """
    if out == Path():
        raise UsageError("--out needs the name of a file", hint="reconciler plan --out FILE")
    with context.components() as components:
        planned = planned_by(context, components, stores, users, live=live)
        for store in (s for s in components.stores() if s.name in planned.passed_over):
            remember(planned.scans[store.name], store, components.state)
    approve = approval("apply", stores=stores, users=users, live=live)
    show(context, planned, output, everything=everything, approve=approve)
    if out is not None:
        save(planned, out, narrowed=bool(users))
        context.say(f"saved as {out}; apply it with: reconciler apply {out}")
    failed = [told_error(context, store) for store in planned.plan.stores]
    if any(failed):
        return FAILED
    return ACTIONS if detailed_exitcode and planned.plan.summary.actions else 0


def told_error(context: Context, store: StorePlan) -> bool:
    """Whether a store could not be planned; if so, what is wrong with it stands on stderr."""
    if store.error is None:
        return False
    context.failed(store.store, store.error, store.error_hint)
    return True


def planned_by(
    context: Context, components: Components, stores: Sequence[str], users: Sequence[str], *, live: bool = False
) -> Planned:
    """The plan of these stores (all, if none is named) for these users (all, if none is named).

    Everybody is read from the shop where `live`, or users are named, or the shop's mirror does not stand.
    """
    chosen = components.identified_stores(stores)
    names = users_named(components, users) if users else None
    found = (
        {} if live or names is not None else check_mirrors({s.name: components.mirror(s, wait=_never) for s in chosen})
    )
    as_of = {name: standing.as_of for name, standing in found.items() if standing.as_of is not None}
    for name, standing in found.items():
        if standing.doubt:
            context.say(f"{name}: everybody is read from the shop, for {clean(standing.doubt)}")
    unmirrored = [name for name in found if name not in as_of]
    if unmirrored and components.profiles.count(at_most=BULK_FROM) == BULK_FROM:
        for name in unmirrored:
            context.say(
                f"hint: reconciler backfill shopify --store {name}, and plans read only what its mirror can't tell"
            )
    readers = {s.name: (s, components.readers(s, by_mirror=s.name in as_of)) for s in chosen}
    total = components.profiles.count() if names is None and context.err.is_terminal else None
    with context.progress() as progress:

        def bar(store: StoreName) -> Progress:
            task = progress.add_task(f"looking at {store}", total=total)

            def advance(count: int) -> None:
                progress.advance(task, count)

            return advance

        return plan_stores(
            readers,
            ObserveOptions(now=components.clock.now(), users=names, insists=names is not None),
            progress=bar,
            as_of=as_of,
        )


def _never(_seconds: float) -> bool:
    """A plan waits for no bulk query."""
    return False


def rests_on(planned: Planned) -> Iterator[str]:
    """What the plan rests on, a line each store that was not looked at as a whole."""
    for name, passed in planned.passed_over.items():
        told = {"passed over as unmoved": passed.users, "decided on without the shop": passed.decided}
        who = ", ".join(f"{counted(users, 'user')} {words}" for words, users in told.items() if users)
        if who:
            yield f"{name}: {who} at {time_text(passed.as_of)}, by its mirror; --live reads everybody"


def show(context: Context, planned: Planned, output: str, *, everything: bool = False, approve: str = APPROVE) -> None:
    """Print the plan to stdout. `approve`: see `plan_text`."""
    match output:
        case "json":
            poured(render.plan_json(planned.plan))
        case "markdown":
            click.echo(render.plan_markdown(planned.plan, approve=approve))
        case "html":
            poured(render.plan_html(planned.plan, approve=approve))
        case _:
            render.plan_text(planned.plan, context.out, everything=everything, approve=approve)
    for line in rests_on(planned):
        (context.out if output == "text" else context.err).print(line, markup=False, soft_wrap=True)


def save(planned: Planned, path: Path, *, narrowed: bool) -> None:
    """Seal the plan and write it."""
    saved = planfile.SavedPlan(
        program=version("customer-parity"),
        narrowed=narrowed,
        plan=planned.plan,
        withheld={
            str(name): scan_result.withheld for name, scan_result in planned.scans.items() if scan_result.withheld
        },
    )
    planfile.save(saved, path, key=environment().get("RECONCILER_PLAN_KEY"))
