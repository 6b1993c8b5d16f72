"""Docs can't lie: every command, reason, error, module, key and sample is in them, and every link leads somewhere."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

from reconciler import errors
from reconciler.cli.main import COMMANDS
from reconciler.core.model.reasons import HOLD_REASONS, STATUS_REASONS, WHO_ACTS, Reason
from reconciler.settings import json_schemas
from tests.docs.generated import ROOT, error_classes
from tests.standards.tree import PACKAGE, modules, tracked

PAGES = sorted(path for path in tracked() if path.suffix == ".md")
DECISIONS = sorted((ROOT / "docs/decisions").glob("0*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
README_WORDS_MAX = 900
ARCHITECTURE_LINES_MAX = 200
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    str(path.relative_to(ROOT))
    for path in tracked()
    if path.suffix == ".py" and path.is_relative_to(PACKAGE) and ">>> " in path.read_text(encoding="utf-8")
]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+?)\s*$", FENCE.sub("", text), re.MULTILINE)


def anchor(heading: str) -> str:
    """As GitHub makes it: lower case, without punctuation, blanks as hyphens."""
    plain = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower())
    return plain.strip().replace(" ", "-")


def section(text: str, heading: str) -> str:
    """What is below a heading of the third level, up to the next heading."""
    found = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


@pytest.mark.parametrize("reason", WHO_ACTS)
def test_each_reason_says_what_it_means_who_acts_and_what_next(reason: str) -> None:
    said = section(text_of("docs/errors.md"), reason)
    assert len(said) > 100
    acts = re.search(r"\*\*Who\s+acts:\*\*\s+(?:the\s+)?(\w+)", said)
    assert acts
    assert acts[1] == WHO_ACTS[reason]
    assert "**Next:**" in said


@pytest.mark.parametrize(
    "reason", [*HOLD_REASONS.values(), *STATUS_REASONS.values()], ids=[*HOLD_REASONS, *STATUS_REASONS]
)
def test_each_reason_says_in_a_sentence_what_it_means_and_what_to_do(reason: Reason) -> None:
    for sentence in (reason.meaning, reason.next_step):
        assert len(sentence) > 10
        assert sentence[0].isupper()
        assert sentence[-1] == "."


@pytest.mark.parametrize("reason", HOLD_REASONS)
def test_each_reason_is_in_the_rules(reason: str) -> None:
    assert f"`{reason}`" in text_of("docs/rules.md")


def test_each_error_has_a_heading() -> None:
    kinds = error_classes()
    assert kinds
    for name in [*kinds, errors.ReconcilerError.__name__]:
        assert len(section(text_of("docs/errors.md"), name)) > 40, name


def test_no_heading_speaks_of_a_reason_or_an_error_that_is_not_there() -> None:
    known = {*WHO_ACTS, *STATUS_REASONS, *error_classes(), "ReconcilerError"}
    found = set(re.findall(r"^### (\w+)$", text_of("docs/errors.md"), re.MULTILINE))
    assert found == known


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_on_the_page_of_commands(command: str) -> None:
    text = text_of("docs/cli.md")
    assert f"\n## {command}\n" in text
    assert f"Usage: reconciler {command}" in text


def test_each_key_that_may_be_set_is_on_the_page_of_settings() -> None:
    text = text_of("docs/configuration.md")
    for schema in json_schemas().values():
        for part in [schema, *schema["$defs"].values()]:
            for key in part.get("properties", {}):
                assert f"`{key}`" in text, key


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").split()) <= README_WORDS_MAX


def test_the_architecture_is_short_and_names_every_package() -> None:
    text = text_of("docs/architecture.md")
    assert len(text.splitlines()) <= ARCHITECTURE_LINES_MAX
    packages = {name.split("/")[1].removesuffix(".py") for name in modules()} - {"__init__"}
    assert {name for name in packages if f"`{name}`" not in text} == set()


def test_the_index_leads_to_every_page() -> None:
    linked = {name.partition("#")[0] for name in LINK.findall(text_of("docs/index.md"))}
    pages = {str(path.relative_to(ROOT / "docs")) for path in PAGES if path.is_relative_to(ROOT / "docs")}
    assert {name for name in pages if not name.startswith("decisions/")} - linked - {"index.md"} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, part = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        if not other.exists() or (
            part and part not in {anchor(h) for h in headings(other.read_text(encoding="utf-8"))}
        ):
            broken.append(target)
    assert broken == []


def test_pages_do_not_name_files_that_are_not_there() -> None:
    names = re.compile(r"`((?:docs|config|reconciler|tests)/[\w./-]+\.\w+)`")
    for page in PAGES:
        for name in names.findall(page.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_decisions_are_numbered_without_gaps_and_have_three_parts() -> None:
    assert [path.name[:4] for path in DECISIONS] == [f"{n:04}" for n in range(1, len(DECISIONS) + 1)]
    for path in DECISIONS:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {path.name[:4]}: "), path.name
        parts = re.findall(r"^## (.+)$", FENCE.sub("", text), re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences"], path.name


def test_the_list_of_decisions_has_each_with_its_title() -> None:
    listed = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| (.+?) \|", text_of("docs/decisions/README.md"), re.MULTILINE)
    titles = [(path, path.read_text(encoding="utf-8").splitlines()[0]) for path in DECISIONS]
    assert listed == [(path.name[:4], path.name, title.split(": ", maxsplit=1)[1]) for path, title in titles]


def test_every_sample_is_explained_in_its_first_line() -> None:
    for path in (ROOT / "config/samples").rglob("*.yaml"):
        assert re.match(r"# \w.{20,}", path.read_text(encoding="utf-8")), path


def test_examples_in_docstrings_run() -> None:
    assert EXAMPLES
    for name in EXAMPLES:
        result = doctest.testmod(importlib.import_module(name.removesuffix(".py").replace("/", ".")))
        assert result.attempted > 0, name
        assert result.failed == 0, name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_in_pages_run(page: Path) -> None:
    assert doctest.testfile(str(page), module_relative=False, encoding="utf-8").failed == 0
