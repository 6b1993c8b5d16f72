"""`reconciler schema`: prints or writes the JSON Schemas of both settings files, for editors."""

from __future__ import annotations

import json
from pathlib import Path

import click

from reconciler.settings import json_schemas


@click.command("schema")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write the files to this folder."
)
def command(out: Path | None) -> None:
    """Print the schemas of reconciler.yaml and stores.yaml, or write them as files."""
    schemas = json_schemas()
    if out is None:
        click.echo(json.dumps(schemas, indent=2, ensure_ascii=False))
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas.items():
        (out / name).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        click.echo(f"wrote {out / name}", err=True)
