"""Figures of the code base, to compare one state with the next: `make stats`.

python -m tests.standards.stats
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median

from tests.standards.test_words import hits
from tests.standards.tree import ROOT, modules, tracked

PATCHED = r"\.setattr\("
PRIVATE = r"(?<!self)(?<!cls)\.(_[a-z]\w*)"
PARTICIPLE = re.compile(r"^[a-z]+ed$|^[a-z]+ed_")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def product() -> dict[str, ast.Module]:
    """Modules of the product by path, without the simulator and migrations."""
    skipped = ("reconciler/simulator/", "reconciler/state/migrations/")
    return {name: tree for name, tree in modules().items() if not name.startswith(skipped)}


def functions() -> Iterator[tuple[str, Function]]:
    for name, tree in product().items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield name, node


def length(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def lines_of(names: list[str]) -> int:
    return sum(len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in names)


def files_of_tests() -> list[str]:
    paths = (path.relative_to(ROOT).as_posix() for path in tracked() if path.suffix == ".py")
    return [name for name in paths if name.startswith("tests/")]


def core() -> list[str]:
    return [name for name in product() if name.startswith("reconciler/core/")]


def found(pattern: str, names: Iterable[str]) -> int:
    return sum(len(re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"))) for name in names)


def any_in_core() -> int:
    return found(r"\bAny\b", core())


def untyped_copies() -> int:
    """Copies of pydantic models in the core, but those in functions with `**values: Unpack[...]`, which mypy checks."""

    def count(node: ast.AST) -> int:
        values = node.args.kwarg if isinstance(node, Function) else None
        if values is not None and values.annotation is not None and "Unpack[" in ast.unparse(values.annotation):
            return 0
        below = sum(map(count, ast.iter_child_nodes(node)))
        return below + (isinstance(node, ast.Attribute) and node.attr == "model_copy")

    return sum(count(product()[name]) for name in core())


def ignored_types() -> int:
    return found(r"# type: ignore", product())


def class_names() -> Counter[str]:
    """How many classes of the product and the simulator have each public name."""
    nodes = (node for tree in modules().values() for node in ast.walk(tree))
    return Counter(node.name for node in nodes if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))


def folders() -> Counter[str]:
    """Modules in each folder of the package."""
    return Counter(str(Path(name).parent) for name in modules() if not name.endswith("__init__.py"))


FIGURES: dict[str, Callable[[], object]] = {
    "lines of the product, without the simulator": lambda: lines_of(list(product())),
    "lines of the simulator": lambda: lines_of([n for n in modules() if n.startswith("reconciler/simulator/")]),
    "lines of the tests": lambda: lines_of(files_of_tests()),
    "modules of the product": lambda: len(product()),
    "longest module": lambda: max(lines_of([name]) for name in product()),
    "folders with more than 14 modules": lambda: {f: n for f, n in folders().items() if n > 14},
    "median lines of a function": lambda: median(length(node) for _, node in functions()),
    "functions of more than 60 lines": lambda: sum(length(node) > 60 for _, node in functions()),
    "functions named by a participle": lambda: sum(bool(PARTICIPLE.match(node.name)) for _, node in functions()),
    "public class names that exist twice": lambda: sum(count > 1 for count in class_names().values()),
    "`Any` in core": any_in_core,
    "`model_copy` in core, not typed": untyped_copies,
    "`type: ignore` in the product": ignored_types,
    "patched attributes in tests": lambda: found(PATCHED, files_of_tests()),
    "private attributes in tests": lambda: found(PRIVATE, files_of_tests()),
    "lines of the product with a word of the list": lambda: len(hits("reconciler")),
    "the same in docs and README": lambda: len(hits("docs")) + len(hits("README.md")),
    "the same in tests": lambda: len(hits("tests")),
}


def main() -> None:
    for name, measure in FIGURES.items():
        sys.stdout.write(f"{name:<48} {measure()}\n")


if __name__ == "__main__":
    main()
