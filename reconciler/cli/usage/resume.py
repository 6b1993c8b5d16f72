"""Usage of `reconciler resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("resume")
@click.argument("stores", nargs=-1, required=True)
@click.pass_obj
def command(context: Context, /, **options: Any) -> None:
    """End the pause of each STORE that `reconciler pause` or the console set. A running controller then does what was held.

    A store with `paused: true` in stores.yaml stays paused: this is reported, with exit code 1.
    """
    from reconciler.cli.commands.stores.resume import resume

    resume(context, **options)
