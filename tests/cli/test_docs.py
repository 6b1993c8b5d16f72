"""`reconciler docs`: the reference at the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.cli.commands.docs import pages
from reconciler.cli.main import COMMANDS, run
from reconciler.core.model.reasons import WHO_ACTS
from tests.docs.generated import ROOT, error_classes

SAMPLES = ROOT / "config/samples"
TASKS = {path.stem for path in (ROOT / "docs/tasks").glob("*.md")}
SECTIONS_ALSO = ("guards", "emailtaken", "Command line", "tasks/upgrade", "docs/errors.md")


@pytest.fixture
def docs(capsys: pytest.CaptureFixture[str]) -> Docs:
    return Docs(capsys)


class Docs:
    """Runs the command; gives its code and both outputs."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        code = run(["docs", *words])
        out, err = self.capsys.readouterr()
        return code, out, err


def test_each_reason_error_command_and_page_has_a_section(docs: Docs) -> None:
    for name in (*WHO_ACTS, *error_classes(), *COMMANDS, *pages(), *SECTIONS_ALSO):
        code, out, err = docs(name, "--output", "markdown")
        assert (code, err) == (0, ""), name
        assert out.startswith("#"), name
        assert "[[[" not in out, name


def test_every_page_of_tasks_is_there() -> None:
    assert TASKS
    assert set(pages()) > TASKS


def test_a_reason_says_who_acts_and_what_next(docs: Docs) -> None:
    code, out, err = docs("EmailTaken")
    assert (code, err) == (0, "")
    assert out.split()[0] == "EmailTaken"
    assert "Who acts: the operator." in out
    assert "Next: decide which user owns the email" in out
    assert "EmailConflict" not in out, "the next section is another one"


@pytest.mark.parametrize(
    ("name", "heading", "row"),
    [
        ("parity_ratio", "## All metrics", "| `parity_ratio` |"),
        ("config_refused", "## The process", "| `config_refused` |"),
        ("circle", "## Glossary", "| chain, circle |"),
        ("resync_s", "### controller", "| `resync_s` |"),
    ],
)
def test_a_metric_a_log_event_a_word_and_a_key_have_their_line_of_the_table(
    docs: Docs, name: str, heading: str, row: str
) -> None:
    code, out, _ = docs(name, "--output", "markdown")
    first, _, names, ruler, *rows = out.splitlines()
    assert (code, first, names[0], ruler[:4]) == (0, heading, "|", "|---")
    assert [line[: len(row)] for line in rows] == [row]


def test_a_section_ends_where_the_next_one_begins_and_code_has_no_headings(docs: Docs) -> None:
    _, guards, _ = docs("guards", "--output", "markdown")
    assert sum(line.startswith("#") for line in guards.splitlines()) == 1
    _, deploy, _ = docs("deploy", "--output", "markdown")
    assert deploy.endswith('{"user": "user_…"}\'\n```\n')


def test_without_a_name_each_reason_and_error_has_one_line(docs: Docs) -> None:
    code, out, err = docs()
    assert (code, err) == (0, "")
    lines = {words[0]: words[1] for line in out.splitlines() if len(words := line.strip().split(maxsplit=1)) > 1}
    assert {*WHO_ACTS, *error_classes(), *pages()} <= set(lines)
    assert lines["EmailUnverified"].startswith("profiles.trust_email is verified")
    assert all(line.endswith(".") for name, line in lines.items() if name in {*WHO_ACTS, *error_classes()})


@pytest.mark.parametrize(
    ("asked", "near"),
    [("EmailTakn", "; did you mean 'EmailTaken'"), ("phoneinvald", "; did you mean 'PhoneInvalid'"), ("zzzz", "")],
)
def test_an_unknown_name_is_an_error_with_close_matches(docs: Docs, asked: str, near: str) -> None:
    code, out, err = docs(asked)
    assert (code, out) == (64, "")
    first, second = err.splitlines()
    assert first.startswith(f"error: the reference has no section '{asked}'{near}")
    assert second == "hint: `reconciler docs` lists the reasons, the errors and the pages"


def test_samples_are_written_once(docs: Docs, tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    assert docs("--samples", str(folder))[0] == 0
    written = {path.relative_to(folder): path.read_text() for path in folder.rglob("*.yaml")}
    assert written == {path.relative_to(SAMPLES): path.read_text() for path in SAMPLES.rglob("*.yaml")}
    code, _, err = docs("--samples", str(folder))
    assert code == 64
    assert "nothing is overwritten" in err
