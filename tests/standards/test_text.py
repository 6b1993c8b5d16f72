"""Rules on the text of the files. The words searched for are put together here, so that this file may hold them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.standards.tree import PACKAGE, ROOT, imported, lines, modules, texts, tracked

LINES_MAX = 498
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "HA" + "CK"]) + r")\b")
MACHINE = re.compile("(?<![\\w.~}:-])/(" + "|".join(["wo" + "rk", "ho" + "me", "ro" + "ot", "Us" + "ers"]) + r")/")
_HOSTS = ("py" + r"pi\.org", "python" + "hosted", "npm" + r"js\.(org|com)", r"crates\." + "io", "proxy" + r"\.golang")
REGISTRIES = re.compile("|".join(_HOSTS), re.IGNORECASE)
WORKSHOP = re.compile(
    "|".join(
        [
            r"\b(issue|ticket|pull request|PR) #?\d+",
            r"(?<!\w)#\d+\b(?!.*[;{}])",
            r"\b(cla" + r"ude|anth" + r"ropic|chat" + r"gpt|cop" + r"ilot|language mo" + r"del|sub-?ag" + r"ent)\b",
            r"\b(this|last|previous|next|coding) ses" + r"sion\b",
            r"\bthe (brief|prompt) (says|asks|wants)\b",
        ]
    ),
    re.IGNORECASE,
)
DOCUMENT = re.compile(r"^\s*(query|mutation|subscription|fragment)\b[^\n]*\{\s*\w", re.MULTILINE)
# Numbers and unused arguments explain themselves; any other exception says why.
NOQA = re.compile(r"# noqa\b(?!: (PLR2004|ARG00\d)\b)(?!: [A-Z]+\d+(, ?[A-Z]+\d+)*\s+(- )?\w)")


def hits(pattern: re.Pattern[str]) -> list[str]:
    return [f"{place}: {line.strip()[:100]}" for place, line in lines() if pattern.search(line)]


def test_no_module_is_a_giant() -> None:
    sizes = {name: len(text.splitlines()) for name, text in texts() if name in modules()}
    assert {name: size for name, size in sizes.items() if size > LINES_MAX} == {}


def test_nothing_is_left_unfinished() -> None:
    assert hits(UNFINISHED) == []


def test_no_path_of_a_machine_is_in_any_file() -> None:
    assert hits(MACHINE) == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    assert hits(REGISTRIES) == []


def test_files_speak_of_the_product_and_not_of_how_it_was_made() -> None:
    assert hits(WORKSHOP) == []


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (UNFINISHED, "# TO" + "DO: later"),
        (MACHINE, "cd /wo" + "rk/main"),
        (MACHINE, "path=/ho" + "me/ada/x"),
        (REGISTRIES, "https://py" + "pi.org/simple"),
        (WORKSHOP, "see iss" + "ue 12"),
        (WORKSHOP, "fixes #" + "12"),
        (DOCUMENT, "query Q($id: ID!) { customer"),
        (DOCUMENT, "mutation {\n  tagsAdd"),
        (NOQA, "x  # no" + "qa"),
        (NOQA, "x  # no" + "qa: TID251"),
    ],
)
def test_the_rules_see_what_they_look_for(pattern: re.Pattern[str], line: str) -> None:
    assert pattern.search(line)


def test_every_module_says_where_it_belongs() -> None:
    assert [name for name, tree in modules().items() if not (ast.get_docstring(tree) or "").strip()] == []


def test_every_exception_from_a_lint_rule_names_the_rule_and_the_reason() -> None:
    assert [hit for hit in hits(NOQA) if hit.startswith("reconciler/")] == []


def test_coverage_is_never_switched_off_without_a_reason() -> None:
    bare = re.compile(r"# pragma: no co" + r"ver(?!\s+\S)")
    assert hits(bare) == []


def _texts_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_graphql_documents_are_files_of_their_own() -> None:
    found = [name for name, tree in modules().items() if any(DOCUMENT.search(text) for text in _texts_of(tree))]
    assert found == []
    assert list(PACKAGE.glob("shopify/documents/*.graphql"))


def _swallows_everything(handler: ast.ExceptHandler) -> bool:
    """Whether it catches whatever comes and does not pass it on."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    wide = any(c is None or (isinstance(c, ast.Name) and c.id in {"Exception", "BaseException"}) for c in caught)
    last = handler.body[-1]
    return wide and not (isinstance(last, ast.Raise) and last.exc is None)


def test_only_the_workers_loop_and_the_command_line_catch_everything() -> None:
    found = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and _swallows_everything(node)
    }
    assert found <= {"reconciler/manager/dispatcher.py", "reconciler/cli/main.py"}


def test_there_are_no_mocks() -> None:
    banned = re.compile(r"\bunittest\." + r"mock|\bMagic" + r"Mock\b")
    assert [
        place for place, line in lines() if place.startswith(("tests/", "reconciler/")) and banned.search(line)
    ] == []


def test_what_is_made_is_not_tracked() -> None:
    made = re.compile(r"(\.db|\.sqlite|\.pyc|\.log|\.egg-info|\.coverage.*)$|(^|/)(var|\.venv|__pycache__)/")
    assert [name for path in tracked() if made.search(name := str(path.relative_to(ROOT)))] == []


def test_imports_are_found_wherever_they_stand() -> None:
    tree = ast.parse("import a.b\ndef f():\n    from c import d\n")
    assert imported(tree) == {"a.b", "c.d"}
