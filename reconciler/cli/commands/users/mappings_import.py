"""`reconciler mappings import FILE`: assigns customers to users by a table of pairs, after a confirmation."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from reconciler.cli.approval import approval_command
from reconciler.cli.commands.sync.apply import apply_each, approve_withheld, exit_code, show_and_confirm
from reconciler.cli.context import Context, print_parts
from reconciler.cli.files.pairs import read_pairs
from reconciler.cli.render import outputs as render
from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.scan.plan import plan_assigned

FAILED = 1


@click.command("import")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--approve", metavar="DIGEST", help="Apply also what the guards withhold in the plan with this digest.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def command(
    context: Context,
    file: Path,
    yes: bool,  # noqa: FBT001  click's call
    approve: str | None,
    output: str,
) -> int:
    """Adopt customers by a table of pairs: clerk_user_id, store or shop, and shopify_customer_id, as CSV or JSON.

    Plans the adoptions, shows them, asks and applies, with the same guards as `apply`. Holds a pair if the customer belongs
    to another or an erased user, or the user has another customer.
    """
    with context.components() as components:
        pairs = read_pairs(file, components.identified_stores())
        stores = components.stores([str(name) for name in pairs])
        readers = {s.name: (s, components.readers(s, assigned=pairs[s.name])) for s in stores}
        planned = plan_assigned(readers, now=components.clock.now())
        if approve is not None:
            planned = approve_withheld(planned, approve)
        if not show_and_confirm(
            context, planned, output=output, yes=yes, again=approval_command("mappings", "import", str(file))
        ):
            return FAILED
        results = apply_each(context, components, planned, apply_store=partial(apply_plan, fresh=True), assigned=pairs)
    if output == "json":
        print_parts(render.results_json(results, planned.plan.digest))
    else:
        render.print_results(results, context.out)
    return exit_code(context, planned, results)
