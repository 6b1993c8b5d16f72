"""`reconciler mappings import FILE`: customers are assigned to users by a table of pairs, after showing and asking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from reconciler.cli.approval import approval
from reconciler.cli.commands.apply import apply_each, approved_by, ask, exit_code
from reconciler.cli.context import Context, poured
from reconciler.cli.files.pairs import Pairs, pairs_in
from reconciler.cli.render import outputs as render
from reconciler.controller.apply import apply_plan
from reconciler.controller.context import StoreContext
from reconciler.controller.step import Outcome
from reconciler.controller.stores import plan_assigned
from reconciler.core.plan.gather import ScanResult

FAILED = 1


@click.command("import")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--approve", metavar="DIGEST", help="Let go what the guards hold in the plan with this digest.")
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

    Plans the adoptions, shows them, asks and applies, under the same guards as `apply`. Held is a customer of another user,
    or of one who was erased, and a user who has another customer.
    """
    with context.components() as components:
        pairs = pairs_in(file, components.identified_stores())
        stores = components.stores([str(name) for name in pairs])
        readers = {s.name: (s, replace(components.readers(s), assigned=pairs[s.name])) for s in stores}
        planned = plan_assigned(readers, now=components.clock.now())
        if approve is not None:
            planned = approved_by(planned, approve)
        if not ask(context, planned, output=output, yes=yes, again=approval("mappings", "import", str(file))):
            return FAILED
        results = apply_each(context, components, planned, carry=partial(_carried, pairs))
    if output == "json":
        poured(render.results_json(results, planned.plan.digest))
    else:
        render.results_text(results, context.out)
    return exit_code(context, planned, results)


def _carried(pairs: Pairs, scan_result: ScanResult, store_context: StoreContext) -> Iterator[Outcome]:
    """Each action is checked against the world once more: by the same pairs."""
    readers = replace(store_context.readers, assigned=pairs[store_context.store.name])
    return apply_plan(scan_result, replace(store_context, readers=readers), fresh=True)
