"""`reconciler mappings import FILE`: assigns customers to users by a table of pairs, after a confirmation."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from reconciler.cli.approval import approval_command
from reconciler.cli.commands.sync.apply import apply_each, exit_code, show_and_confirm
from reconciler.cli.context import Context, print_parts
from reconciler.cli.files.pairs import read_pairs
from reconciler.cli.render import outputs as render
from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.scan.plan import plan_assigned
from reconciler.wiring.plans import approve_withheld

FAILED = 1


def import_mappings(
    context: Context,
    *,
    file: Path,
    yes: bool,
    approve: str | None,
    output: str,
) -> int:
    with context.components() as components:
        pairs = read_pairs(file, components.identify_stores())
        stores = components.assignable_stores([str(name) for name in pairs])
        readers = {s.name: (s, components.readers(s, assigned=pairs[s.name])) for s in stores}
        planned = plan_assigned(readers, now=components.clock.now())
        if approve is not None:
            planned = approve_withheld(planned, approve)
        again = approval_command("mappings", "import", str(file), files=context.file_options)
        if not show_and_confirm(context, planned, output=output, yes=yes, again=again):
            return FAILED
        results = apply_each(
            context, components, planned, kind="import", apply_store=partial(apply_plan, fresh=True), assigned=pairs
        )
    if output == "json":
        print_parts(render.results_json(results, planned.plan.digest))
    else:
        render.print_results(results, context.out)
    return exit_code(context, planned, results)
