"""The words of the project: plain technical English. The lists are split, so that this file may hold them."""

from __future__ import annotations

import re

import pytest

from tests.standards.tree import ROOT, tracked

PATHS = (
    "reconciler",
    "tests",
    "docs",
    "config",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "pyproject.toml",
    "stores.yaml",
)
FROZEN = "reconciler/state/migrations/"
"""Migrations are never edited."""

PEOPLE = ["sh" + "e", "he" + "r", "he" + "rs", "he" + "rself", "wh" + "om", "who" + "ever", "who" + "se", "nob" + "ody"]
PHRASES = [
    "an" + "ew",
    "lat" + "ely",
    "is to" + "ld",
    "are to" + "ld",
    "sta" + "nds",
    "goes" + " on",
    "carries" + " out",
]
PHRASES += ["carried" + " out", "lets" + " go of"]
IMAGES = ["ho" + "use", "fl" + "oors?", "sta" + "irs", "ro" + "oms?", "corr" + "idors?", "do" + "ors?", "lob" + "by"]
IMAGES += ["cr" + "ews?", "ha" + "nds", "de" + "sks?", "clock" + "work", "ri" + "des?", "pi" + "les?", "str" + "eets?"]
IMAGES += ["to" + "wns?", "vill" + "ages?", "swe" + "eps?", "swe" + "pt"]
WORDS = re.compile(r"(?<![A-Za-z'])(" + "|".join(PEOPLE + PHRASES + IMAGES) + r")(?![A-Za-z])", re.IGNORECASE)
SCANS, LINES, ROUND = "swe" + "ep", "ri" + "des_in", r"math\.flo" + "or"
NAMED = "change-ha" + "nds-in-order"  # the file of a decision
ACCOUNT, ADDRESS, MAILS = "nob" + "ody", "Downing Str" + "eet", r"vill" + r"age\.example\.com"
KEPT = re.compile(
    rf"last_{SCANS}_at|reconciler_{SCANS}\w*|[`\"]{SCANS}[`\"]|row\.{SCANS}\b|\b{SCANS}(?==|: Scan)(={SCANS})?|{LINES}"
    rf"|{ROUND}|{NAMED}|`{ACCOUNT}`|names\[\"{ACCOUNT}\"\]|{ADDRESS}|(?i:{MAILS})"
)
"""Names that users and databases rely on, and the addresses of test data."""
SUFFIXES = {".py", ".md", ".html", ".sql", ".yaml", ".toml"}


def hits(path: str) -> list[str]:
    """`file:line: text` of each line below this path that holds one of the words."""
    found = []
    for file in tracked():
        name = file.relative_to(ROOT).as_posix()
        if (
            file.suffix in SUFFIXES
            and (name == path or name.startswith(path + "/"))
            and "requirements" not in name
            and not name.startswith(FROZEN)
        ):
            lines = file.read_text(encoding="utf-8").splitlines()
            found += [f"{name}:{number}: {line.strip()[:100]}" for number, line in enumerate(lines, 1) if says(line)]
    return found


def says(line: str) -> bool:
    """Whether the line holds one of the words; identifiers are split at their underscores."""
    return WORDS.search(KEPT.sub("", line).replace("_", " ")) is not None


@pytest.mark.parametrize("path", PATHS)
def test_the_words_are_plain(path: str) -> None:
    assert hits(path) == []


@pytest.mark.parametrize("line", ["wh" + "om it concerns", "def test_sh" + "e_is_kept", "the do" + "or"])
def test_the_words_are_found(line: str) -> None:
    assert says(line)


@pytest.mark.parametrize("line", ["the theme", "atones", "handsh" + "ake", "indoors", "Herbert"])
def test_other_words_are_left(line: str) -> None:
    assert not says(line)
