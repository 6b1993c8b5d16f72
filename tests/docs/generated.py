"""What cog writes into the docs: tables of the settings, `--help` of the commands, sample plans, the layers."""

from __future__ import annotations

import ast
import io
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from rich.console import Console

from reconciler.cli.main import COMMANDS, cli
from reconciler.cli.render.outputs import print_plan
from reconciler.core.plan.plan import Plan
from reconciler.errors import ReconcilerError
from reconciler.settings import json_schemas
from tests.cli.plans import of_two_new_users, one_screen

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "reconciler"
WIDTH = 100
LAYERS = {
    "cli": "commands: words in, text or JSON out",
    "manager": "starts, watches and stops the parts of `run`",
    "server": "HTTP in, requests queued; probes; the console",
    "wiring": "opens what the settings name, and gives it to the controller",
    "controller": "observe, decide, execute: for one request and for whole stores",
    "shopify": "the shops: reads, mutations, bulk operations, webhooks",
    "supabase": "the profiles: any table or view, in short reads",
    "clerk": "Clerk's webhooks and API",
    "state": "our own database: one repository for each group of tables",
    "settings": "files and environment",
    "simulator": "a Shopify of our own, for demos and tests; knows nothing of the rest",
    "outbound": "HTTP and database connections to others, bounded in time and size",
    "ports": "what the controller needs of the outside, in the words of the core",
    "core": "values in, values out: no clock, file, socket, database or environment",
    "errors": "all errors, by who acts next",
}


def plan_screen() -> str:
    """A short plan as `reconciler plan` prints it."""
    return _printed(one_screen())


def first_plan() -> str:
    """The plan of the tutorial's shop."""
    return _printed(of_two_new_users())


def _printed(plan: Plan) -> str:
    page = io.StringIO()
    print_plan(plan, Console(file=page, width=WIDTH, highlight=False))
    return f"```text\n{page.getvalue().rstrip()}\n```"


def settings_table(file: str, *path: str) -> str:
    """The keys at this path of a file's schema: key, values, default, meaning."""
    schema = json_schemas()[f"{file}.schema.json"]
    part = schema
    for step in path:
        part = part["properties"][step]
        part = _resolved(next((o for o in part.get("anyOf", ()) if "$ref" in o), part), schema)
        part = _resolved(part.get("items") or part.get("additionalProperties") or part, schema)
    rows = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for key, field in part["properties"].items():
        required = key in part.get("required", ())
        default = "required" if required else _default(field)
        rows.append(f"| `{key}` | {_values(field, schema)} | {default} | {_meaning(field, schema)} |")
    return "\n".join(rows)


def _resolved(part: Any, schema: dict[str, Any]) -> Any:
    while "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    return part


def _values(field: dict[str, Any], schema: dict[str, Any]) -> str:
    part = _resolved(field, schema)
    options = [
        o for o in part.get("anyOf", ()) if o.get("type") != "null" and o != {"type": "string", "pattern": r"\$\{"}
    ]
    if options:
        return " or ".join(dict.fromkeys(_values(option, schema) for option in options))
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "const" in part:
        return f"`{part['const']}`"
    match part.get("type"):
        case "array":
            return f"list of {_values(part['items'], schema)}" if part.get("items") else "list"
        case "object":
            return "mapping"
        case "boolean":
            return "`true`, `false`"
        case "integer" | "number":
            return "number"
        case "string":
            return {"password": "secret", "date": "day", "date-time": "moment"}.get(part.get("format", ""), "text")
        case _:
            return "any"


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value in (None, "", [], {}):
        return ""
    return "see below" if isinstance(value, dict) else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _meaning(field: dict[str, Any], schema: dict[str, Any]) -> str:
    text = field.get("description") or _resolved(field, schema).get("description", "")
    return " ".join(text.split()).replace("|", "\\|")


def global_help() -> str:
    """`reconciler --help`."""
    return _help([])


def command_help() -> str:
    """A heading and the `--help` of each command and of what is below it."""
    found = {name: cli.get_command(click.Context(cli), name) for name in COMMANDS}
    paths = [path for name, command in found.items() if command is not None for path in _paths(command, [name])]
    return "\n\n".join(f"{'#' * (len(path) + 1)} {' '.join(path)}\n\n{_help(path)}" for path in paths)


def _paths(command: click.Command, path: list[str]) -> Iterator[list[str]]:
    yield path
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _paths(below, [*path, name])


def _help(path: list[str]) -> str:
    """What the program itself prints on a terminal of a fixed width."""
    done = CliRunner().invoke(
        cli, [*path, "--help"], prog_name="reconciler", terminal_width=WIDTH, catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return f"```text\n{done.stdout.rstrip()}\n```"


def layers() -> str:
    """A row for each package, the top layer first. Packages of one layer have the same number."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    ordered = next(c["layers"] for c in contracts if c.get("containers") == ["reconciler"])
    rows = ["| layer | package | what it does |", "|---|---|---|"]
    for number, row in zip(range(len(ordered), 0, -1), ordered, strict=True):
        rows += [f"| {number} | `{name}` | {LAYERS[name]} |" for name in re.findall(r"\w+", row)]
    return "\n".join(rows)


def error_tree() -> str:
    """All error classes, as their module draws them."""
    text = ast.get_docstring(ast.parse((PACKAGE / "errors.py").read_text(encoding="utf-8"))) or ""
    lines = [line for line in text.splitlines() if line.startswith(("    R", "    ├", "    │", "    └"))]
    return "```text\n" + "\n".join(line.removeprefix("    ") for line in lines) + "\n```"


def error_classes() -> dict[str, type[ReconcilerError]]:
    """The classes that the module of errors defines below its root, by name."""
    found: dict[str, type[ReconcilerError]] = {}
    open_ = list(ReconcilerError.__subclasses__())
    while open_:
        kind = open_.pop()
        open_ += kind.__subclasses__()
        if kind.__module__ == "reconciler.errors":
            found[kind.__name__] = kind
    return found
