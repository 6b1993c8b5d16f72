"""Usage of `reconciler undo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.usage.parameters import output_option, store_option

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("undo")
@click.option("--since", metavar="T", help="Revert everything written since T: 2026-11-23T09:00Z, or 90m, 2h, 1d ago.")
@click.option("--plan", "digest", metavar="DIGEST", help="Revert everything written for the plan with this digest.")
@click.option(
    "--run",
    "run_id",
    type=click.IntRange(1, 2**31 - 1),
    metavar="N",
    help="Revert everything that the run with this number wrote.",
)
@store_option
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option(
    "--approve", metavar="DIGEST", help="Apply also what the guards withhold in the undo plan with this digest."
)
@output_option
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Revert recent writes. Values that others changed since remain, and so does what Shopify can't revert.

    Reverted values are not written again until the profile or the config changes.
    """
    from reconciler.cli.commands.sync.undo import undo

    return undo(context, **options)
