"""Figures of the code base, to compare one state with the next: `make stats`.

python -m tests.standards.stats
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from tests.standards.test_words import hits
from tests.standards.tree import ROOT, modules, tracked

PATCHED = re.compile(r"monkeypatch\.setattr\(")
PRIVATE = re.compile(r"(?<!self)(?<!cls)\.(_[a-z]\w*)")
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


def tests() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")]


def found_in_tests(pattern: re.Pattern[str]) -> int:
    return sum(len(pattern.findall(path.read_text(encoding="utf-8"))) for path in tests())


def found_in_product(pattern: str) -> int:
    return sum(len(re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"))) for name in product())


def class_names() -> Counter[str]:
    """How many classes of the product and the simulator have each public name."""
    nodes = (node for tree in modules().values() for node in ast.walk(tree))
    return Counter(node.name for node in nodes if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))


def in_core(pattern: str) -> int:
    names = [name for name in product() if name.startswith("reconciler/core/")]
    return sum(len(re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"))) for name in names)


def folders() -> Counter[str]:
    """Modules in each folder of the package."""
    return Counter(str(Path(name).parent) for name in modules() if not name.endswith("__init__.py"))


FIGURES: dict[str, Callable[[], object]] = {
    "lines of the product, without the simulator": lambda: lines_of(list(product())),
    "lines of the simulator": lambda: lines_of([n for n in modules() if n.startswith("reconciler/simulator/")]),
    "lines of the tests": lambda: lines_of([str(path.relative_to(ROOT)) for path in tests()]),
    "modules of the product": lambda: len(product()),
    "longest module": lambda: max(lines_of([name]) for name in product()),
    "folders with more than 14 modules": lambda: {f: n for f, n in folders().items() if n > 14},
    "median lines of a function": lambda: median(length(node) for _, node in functions()),
    "functions of more than 60 lines": lambda: sum(length(node) > 60 for _, node in functions()),
    "functions named by a participle": lambda: sum(bool(PARTICIPLE.match(node.name)) for _, node in functions()),
    "public class names that exist twice": lambda: sum(count > 1 for count in class_names().values()),
    "`Any` in core": lambda: in_core(r"\bAny\b"),
    "`model_copy(update=` in core": lambda: in_core(r"model_copy\(update="),
    "`type: ignore` in the product": lambda: found_in_product(r"# type: ignore"),
    "patched attributes in tests": lambda: found_in_tests(PATCHED),
    "private attributes in tests": lambda: found_in_tests(PRIVATE),
    "lines of the product with a word of the list": lambda: len(hits("reconciler")),
    "the same in docs and README": lambda: len(hits("docs")) + len(hits("README.md")),
    "the same in tests": lambda: len(hits("tests")),
}


def main() -> None:
    for name, measure in FIGURES.items():
        sys.stdout.write(f"{name:<48} {measure()}\n")


if __name__ == "__main__":
    main()
