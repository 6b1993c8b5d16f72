"""The project's own files, as git knows them."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "reconciler"


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that is tracked, but those that were removed and not yet committed."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    return tuple(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of each tracked file that is text."""
    for path in tracked():
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def lines() -> Iterator[tuple[str, str]]:
    """`file:line` and the line, of all tracked text."""
    for name, text in texts():
        for number, line in enumerate(text.splitlines(), start=1):
            yield f"{name}:{number}", line


@cache
def modules() -> dict[str, ast.Module]:
    """The syntax tree of each module of the package, by its path below the root."""
    found = [path for path in tracked() if path.suffix == ".py" and path.is_relative_to(PACKAGE)]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in found}


def imported(tree: ast.Module) -> set[str]:
    """The dotted names of all modules, and of names taken from modules, that are imported anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
