"""Usage of `reconciler pause`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("pause")
@click.argument("stores", nargs=-1, required=True)
@click.pass_obj
def command(context: Context, /, **options: Any) -> None:
    """Pause each STORE: `run`, `plan` and `apply` observe it and decide, and hold every action as StorePaused.

    The pause is kept in the state, beside `paused` in stores.yaml, with who set it. A running controller follows within
    seconds; an action that it executes at that moment is finished.
    """
    from reconciler.cli.commands.stores.pause import pause

    pause(context, **options)
