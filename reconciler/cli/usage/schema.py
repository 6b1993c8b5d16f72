"""Usage of `reconciler schema`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    pass


@click.command("schema")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write the files to this folder."
)
def command(**options: Any) -> None:
    """Print the schemas of reconciler.yaml and stores.yaml, or write them as files."""
    from reconciler.cli.commands.setup.schema import print_schemas

    print_schemas(**options)
