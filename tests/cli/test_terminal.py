"""In a terminal: asked before anything is written, in colour unless one says no, with progress that leaves no trace."""

import os
import pty
import re
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest

from tests.cli.harness import US, CliHarness

WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Screen:
    code: int
    text: str

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.text).replace("\r\n", "\n")


def typed(cli: CliHarness, answer: str, *words: str, **environment: str) -> Screen:
    """Run the command in a terminal of its own, with the answer typed ahead."""
    cli("status")  # writes the files
    files = ["--config", str(cli.folder / "reconciler.yaml"), "--stores", str(cli.folder / "stores.yaml")]
    ours, theirs = pty.openpty()
    known = {"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen(
        [sys.executable, "-m", "reconciler.cli", *files, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**known, **environment},
        cwd=cli.folder,
    )
    os.close(theirs)
    seen: list[bytes] = []

    def read() -> None:
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux says so when the other side is gone
                return
            if not part:
                return
            seen.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    os.write(ours, answer.encode())
    code = process.wait(WAIT_S)
    reader.join(WAIT_S)
    os.close(ours)
    return Screen(code, b"".join(seen).decode())


@pytest.mark.slow
def test_a_no_writes_nothing_and_a_yes_applies(ready: CliHarness) -> None:
    before = ready.mutations
    no = typed(ready, "n\n", "apply", "--store", US)
    assert no.code == 1
    assert "Apply these 2 actions? [y/N]" in no.plain
    assert "nothing was changed" in no.plain
    assert ready.mutations == before
    yes = typed(ready, "y\n", "apply", "--store", US)
    assert yes.code == 0
    assert "2 created" in yes.plain
    assert set(ready.customers()) == {"ada@example.com", "bob@example.com"}


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
@pytest.mark.slow
def test_colour_is_there_unless_one_says_no(ready: CliHarness, environment: dict[str, str], *, coloured: bool) -> None:
    screen = typed(ready, "", "plan", **environment)
    assert screen.code == 0
    assert "create  2 new customers" in screen.plain
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-7]m", screen.text)) is coloured


@pytest.mark.parametrize(
    ("command", "first", "then"),
    [
        ("plan", "opening the shops", f"scanning {US}"),
        ("drift", "opening the shops", f"scanning {US}"),
        ("status --certificate", "opening the shops", f"scanning {US}"),
        ("explain user_ada", "finding user_ada", "reading the shops"),
    ],
)
@pytest.mark.slow
def test_what_reads_shops_shows_progress_from_the_start(ready: CliHarness, command: str, first: str, then: str) -> None:
    ready("apply", "--yes")
    ready.shop(US).faults.add("slow", seconds=0.3, times=2)
    screen = typed(ready, "", *command.split())
    assert screen.code == 0
    assert 0 <= screen.plain.find(first) < screen.plain.find(then)
    assert "/s" in screen.plain
    assert "\x1b[2K" in screen.text, "the bars leave no trace"
