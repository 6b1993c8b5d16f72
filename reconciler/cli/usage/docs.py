"""Usage of `reconciler docs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.complete import complete_reason

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("docs")
@click.argument("name", required=False, shell_complete=complete_reason)
@click.option("--output", type=click.Choice(["text", "markdown"]), default="text", show_default=True)
@click.option(
    "--samples",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write sample settings files to this new folder.",
)
@click.pass_obj
def command(context: Context, /, **options: Any) -> None:
    """Print what the reference says of NAME: a reason, an error, a command, a metric, a log event, a key, a word or a page.

    Without NAME, list the reasons, the errors and the pages.
    """
    from reconciler.cli.commands.docs import print_docs

    print_docs(context, **options)
