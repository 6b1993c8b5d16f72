"""Completion in the shell, asked as bash asks: by the environment."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.harness import EU, US, CliHarness


def completed(cli: CliHarness, *words: str) -> list[str]:
    """What the shell would offer for the last of these words."""
    cli("status")  # writes the files
    files = ["--config", str(cli.folder / "reconciler.yaml"), "--stores", str(cli.folder / "stores.yaml")]
    line = ["reconciler", *files, *words]
    environment = {
        "PATH": "/usr/bin:/bin",
        "_RECONCILER_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    program = Path(sys.executable).with_name("reconciler")
    ended = subprocess.run([str(program)], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr == ""
    return [each.partition(",")[2] for each in ended.stdout.splitlines() if each]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("dri",), ["drift"]),
        (("plan", "--store", "acme"), [US, EU]),
        (("explain", "user_"), ["user_ada", "user_bob", "user_cleo", "user_dora"]),
        (("plan", "--user", "user_d"), ["user_dora"]),
        (("docs", "phone"), ["PhoneTaken", "PhoneInvalid"]),
    ],
)
def test_commands_stores_users_and_reasons_are_completed(
    ready: CliHarness, words: tuple[str, ...], offered: list[str]
) -> None:
    assert ready("apply", "--yes").code == 0
    assert sorted(completed(ready, *words)) == sorted(offered)


@pytest.mark.slow
def test_without_a_state_or_files_nothing_is_offered_and_nothing_is_made(cli: CliHarness) -> None:
    cli.settings["state"] = {"url": f"sqlite:///{cli.folder / 'none.db'}"}
    assert completed(cli, "--config", "nowhere.yaml", "explain", "user_") == []
    assert not (cli.folder / "nowhere.yaml").exists()
