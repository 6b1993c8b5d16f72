"""`reconciler schema`: prints or writes the JSON Schemas of both settings files, for editors."""

from __future__ import annotations

import json
from pathlib import Path

import click

from reconciler.settings import json_schemas


def print_schemas(
    *,
    out: Path | None,
) -> None:
    schemas = json_schemas()
    if out is None:
        click.echo(json.dumps(schemas, indent=2, ensure_ascii=False))
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas.items():
        (out / name).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        click.echo(f"wrote {out / name}", err=True)
