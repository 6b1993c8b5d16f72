"""Usage of `reconciler demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("demo")
@click.option("--dir", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Keep the files in this folder.")
@click.option("--all", "everything", is_flag=True, help="Show the plans in full.")
@click.option("--serve", is_flag=True, help="Keep shops, table and controller running, with a page of things to try.")
@click.pass_obj
def command(context: Context, /, **options: Any) -> None:
    """Sync 200 users to two simulated shops, step by step, until the plan is empty. Needs no files; safe to repeat.

    With --serve, the shops, the table and the controller keep running on loopback until Ctrl-C. A page has five things to
    try, and the console shows what the controller does.
    """
    from reconciler.cli.commands.demo.demo import run_demo

    run_demo(context, **options)
