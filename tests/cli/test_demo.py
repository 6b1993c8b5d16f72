"""The demo runs the real commands to an empty plan, leaves nothing behind, and may be repeated."""

import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest

from reconciler.cli.main import run
from tests.manager.harness import until

pytestmark = pytest.mark.slow


def test_the_demo_ends_with_nothing_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["demo", "--dir", "files"]) == 0, capsys.readouterr().err
    out = " ".join(capsys.readouterr().out.split())
    assert "112 to create · 5 to adopt · 4 held" in out
    assert "`reconciler demo --all` shows the plans in full." in out
    assert "✓ The simulated shops confirm every claim above." in out
    assert list(tmp_path.iterdir()) == [tmp_path / "files"]
    assert run(["demo", "--dir", "files"]) == 64
    assert "is not an empty folder" in capsys.readouterr().err


def test_who_signs_up_on_the_playground_becomes_a_customer_and_ctrl_c_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "reconciler.cli", "demo", "--serve"]
    folder, log = tmp_path / "files", tmp_path / "log"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as running,
    ):
        try:
            assert running.stdout is not None
            said = dict(_addresses(running.stdout))
            with httpx.Client(timeout=60, follow_redirects=True) as browser:
                person = {"first_name": "Grace", "last_name": "Hopper", "email": "grace@example.com"}
                until(lambda: _is_up(browser, said["console"]), "the controller answers")
                page = browser.post(f"{said['things to try']}/sign-up", data=person)
                assert "Grace Hopper signed up. The controller has queued the user." in page.text
                console = said["console"].partition("/?")[0]

                def found() -> bool:
                    return "in sync" in browser.get(f"{console}/people", params={"q": "grace@example.com"}).text

                until(found, "the console shows the new customer")
                assert "Nothing was done" in browser.post(f"{said['things to try']}/rename", data={"user": "x"}).text
        finally:
            running.send_signal(signal.SIGINT)
            code = running.wait(60)
    assert code == 0
    assert '"stopped"' in log.read_text()
    assert "threads_abandoned" not in log.read_text()
    assert list(folder.iterdir()) == []


def _addresses(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The named addresses in the output, up to the start of the controller."""
    for line in lines:
        for name in ("things to try", "console"):
            if line.startswith(name + " "):
                yield name, line.removeprefix(name).strip()
        if line.startswith("$ reconciler run"):
            return


def _is_up(browser: httpx.Client, url: str) -> bool:
    try:
        return browser.get(url).status_code == 200
    except httpx.TransportError:
        return False
