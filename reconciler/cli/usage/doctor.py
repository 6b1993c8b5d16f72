"""Usage of `reconciler doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.usage.parameters import output_option, store_option

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("doctor")
@store_option
@output_option
@click.option("--all", "everything", is_flag=True, help="Text: show every check.")
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Check databases, profiles, tokens, scopes, API version, definition, webhooks and clocks; say how to fix them."""
    from reconciler.cli.commands.setup.doctor import diagnose

    return diagnose(context, **options)
