"""`reconciler plan`: shows what `apply` would do, without changing anything in a shop.

It imports the renderer of the format that is asked for, and what saves a plan only where one is saved.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.approval import APPROVE, approval_command
from reconciler.cli.context import Context, print_parts
from reconciler.cli.render.plain import clean, count_text, time_text
from reconciler.cli.scan_bars import scan_bars
from reconciler.controller.mirror.fingerprints import record_fingerprints
from reconciler.controller.mirror.refresh import MirrorCheck
from reconciler.controller.scan.plan import Planned
from reconciler.controller.scan.standing import BULK_FROM
from reconciler.core.model.ids import StoreName
from reconciler.errors import UsageError
from reconciler.settings import environment
from reconciler.wiring import Components
from reconciler.wiring.scans import plan_of

if TYPE_CHECKING:
    from reconciler.cli.render.text import Detail

FAILED, ACTIONS = 1, 2


def plan(
    context: Context,
    *,
    stores: tuple[str, ...],
    users: tuple[str, ...],
    output: str,
    out: Path | None,
    live: bool,
    detail: Detail,
    redact: bool,
    detailed_exitcode: bool,
) -> int:
    if redact and output == "json":
        raise UsageError("--redact is for text, Markdown and HTML", hint="omit --redact, or choose another --output")
    if out == Path():
        raise UsageError("--out needs the name of a file", hint="reconciler plan --out FILE")
    with context.components() as components:
        planned = make_plan(context, components, stores, users, live=live, keeps_withheld=False)
        if not live and not users:
            for store in (s for s in components.stores() if s.name in planned.scans):
                record_fingerprints(planned.scans[store.name], store, components.state.mappings)
    approve = approval_command("apply", files=context.file_options, stores=stores, users=users, live=live)
    shown = planned
    if redact:
        from reconciler.cli.render.redaction import Redaction

        shown = replace(planned, plan=Redaction(_redaction_key()).plan(planned.plan))
    show(context, shown, output, detail=detail, approve=approve)
    if out is not None:
        save(planned, out, narrowed=bool(users))
        command_line = shlex.join(["reconciler", *context.file_options, "apply", str(out)])
        context.say(f"saved as {out}; apply it with: {command_line}")
    failed = [context.report_error(store) for store in shown.plan.stores]
    if any(failed):
        return FAILED
    return ACTIONS if detailed_exitcode and planned.plan.summary.actions else 0


def _redaction_key() -> bytes:
    """The key of the stand-ins: that of saved plans, so that they stay the same from plan to plan; else a new one."""
    given = environment().get("RECONCILER_PLAN_KEY")
    return given.encode() if given else secrets.token_bytes(16)


def make_plan(
    context: Context,
    components: Components,
    stores: Sequence[str],
    users: Sequence[str],
    *,
    live: bool = False,
    keeps_withheld: bool = True,
) -> Planned:
    """Plan these stores (all if none is named) for these users (all if none is named).

    Every customer is read from the shop if `live`, if users are named, or if the shop's mirror can't be used.
    `keeps_withheld` False: for a plan that is only shown.
    """

    def note_mirrors(found: Mapping[StoreName, MirrorCheck]) -> None:
        for name, mirror in found.items():
            if mirror.doubt:
                context.say(f"{name}: every customer is read from the shop: {clean(mirror.doubt)}")
        unmirrored = [name for name, mirror in found.items() if mirror.as_of is None]
        if unmirrored and components.profiles.count(at_most=BULK_FROM) == BULK_FROM:
            for name in unmirrored:
                context.say(
                    f"hint: after reconciler backfill shopify --store {name} plans do not read customers that are in sync"
                )

    with scan_bars(context, lambda: None if users else components.profiles.count()) as bar:
        chosen = components.identify_stores(stores) if users else components.upcoming_stores(context.actor, stores)
        if not users:
            return plan_of(
                components, chosen, live=live, keeps_withheld=keeps_withheld, note_mirrors=note_mirrors, progress=bar
            )
        from reconciler.cli.users import resolve_users
        from reconciler.wiring.explanations import with_unaffected

        names = resolve_users(components, users)
        planned = plan_of(components, chosen, users=names, live=live, note_mirrors=note_mirrors, progress=bar)
        return with_unaffected(components, planned, chosen)


def mirror_notes(planned: Planned) -> Iterator[str]:
    """One line for each store of which the plan did not read every customer."""
    for name, passed in planned.passed_over.items():
        counts = {"skipped as unchanged": passed.users, "decided without reading the shop": passed.decided}
        who = ", ".join(f"{count_text(users, 'user')} {words}" for words, users in counts.items() if users)
        if who:
            yield f"{name}: {who} by the mirror of {time_text(passed.as_of)}; --live reads every customer"


def show(
    context: Context,
    planned: Planned,
    output: str,
    *,
    detail: Detail = "examples",
    approve: str = APPROVE,
) -> None:
    """Print the plan to stdout in this format. `approve`: see `print_plan`."""
    match output:
        case "json":
            from reconciler.cli.render.json import plan_json

            print_parts(plan_json(planned.plan))
        case "markdown":
            from reconciler.cli.render.markdown import plan_markdown

            click.echo(plan_markdown(planned.plan, approve=approve))
        case "html":
            from reconciler.cli.render.html import plan_html

            print_parts(plan_html(planned.plan, approve=approve))
        case _:
            from reconciler.cli.render.text import print_plan

            print_plan(planned.plan, context.out, detail=detail, approve=approve)
    for line in mirror_notes(planned):
        if output == "text":
            context.out.print(line, markup=False, soft_wrap=True)
        else:
            context.say(line)


def save(planned: Planned, path: Path, *, narrowed: bool) -> None:
    """Seal the plan and write it to `path`."""
    from importlib.metadata import version

    from reconciler.cli.files import plan_file as planfile

    saved = planfile.SavedPlan(
        program=version("customer-parity"),
        narrowed=narrowed,
        plan=planned.plan,
        withheld={
            str(name): scan_result.withheld for name, scan_result in planned.scans.items() if scan_result.withheld
        },
    )
    planfile.save(saved, path, key=environment().get("RECONCILER_PLAN_KEY"))
