"""Usage of `reconciler apply`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.times import PLAN_MAX_AGE
from reconciler.cli.usage.parameters import detail_option, output_option, store_option, user_option

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("apply")
@click.argument("planfile_", metavar="[PLANFILE]", required=False, type=click.Path(path_type=Path, dir_okay=False))
@store_option
@user_option
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--live", is_flag=True, help="Read every customer for the plan; ignore the shop's mirror.")
@click.option("--approve", metavar="DIGEST", help="Apply also what the guards withhold in the plan with this digest.")
@click.option("--max-age", metavar="T", help=f"Refuse a saved plan that is older.  [default: {PLAN_MAX_AGE}]")
@click.option(
    "--bulk",
    type=click.Choice(["auto", "never", "always"]),
    default="auto",
    show_default=True,
    help="Send creates and updates as bulk operations: if the forecast says it is faster, never, or always.",
)
@detail_option
@output_option
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Apply a plan. Each mapping is recorded before the next action, and a second run does nothing."""
    from reconciler.cli.commands.sync.apply import apply

    return apply(context, **options)
