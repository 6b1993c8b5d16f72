"""The command line: help, usage, errors, exit codes."""

import errno
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from reconciler.cli import main
from reconciler.cli.main import COMMANDS, run
from tests.cli.harness import CliHarness


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for name, text in COMMANDS.items():
        assert name in out
        assert text in " ".join(out.split())


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert run([name, "--help"]) == 0, name
        assert "Usage: reconciler" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["plam"], "there is no command 'plam'; did you mean 'plan'?", "reconciler --help"),
        (["plan", "--nope"], "No such option", "reconciler plan --help"),
        (["plan", "--store"], "requires an argument", "reconciler plan --help"),
        (["plan", "--output", "yaml"], "is not one of", "reconciler plan --help"),
        (["mappings", "forget"], "Missing argument", "reconciler mappings forget --help"),
        (["plan", "--out", ""], "--out needs the name of a file", "reconciler plan --out FILE"),
        (["plan", "--store", "nope"], "there is no store 'nope'", "stores.yaml has acme-us, acme-eu"),
    ],
)
def test_wrong_usage_exits_64_with_one_line_and_a_hint(cli: CliHarness, words: list[str], said: str, hint: str) -> None:
    found = cli(*words)
    assert found.code == 64
    assert found.out == ""
    first, second = found.err.splitlines()
    assert first.startswith("error: ")
    assert said in first
    assert second == f"hint: {hint}"


@pytest.mark.parametrize("words", [[], ["mappings"]])
def test_a_group_without_a_command_prints_its_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 64
    found = capsys.readouterr()
    assert found.err.startswith("Usage: reconciler")
    assert "error: " not in found.err
    assert found.out == ""


@pytest.mark.parametrize("words", [["schema", "--out"], ["docs", "--samples"], ["demo", "--dir"]])
def test_a_folder_that_cannot_be_made_is_named(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / "folder")
    assert run([*words, folder]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"error: {folder}: Not a directory"
    assert second == f"hint: {main.FILE_HINT}"


def test_a_wrong_setting_is_reported_with_file_and_place(cli: CliHarness) -> None:
    cli.stores["acme-us"]["on_leeve"] = "keep"
    cli.settings["controller"] = {"workers": 0}
    found = cli("plan")
    assert found.code == 1
    assert "reconciler.yaml:1: controller.workers" in found.err
    assert "Traceback" not in found.err


def test_missing_files_are_reported_with_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--config", str(tmp_path / "none.yaml"), "status"]) == 1
    err = capsys.readouterr().err
    assert "none.yaml can't be read" in err
    assert "hint: " in err


def test_tracebacks_are_for_debug_only(cli: CliHarness) -> None:
    cli.settings["profiles"]["table"] = "nowhere"
    assert "Traceback" not in cli("plan").err
    found = cli("--debug", "plan")
    assert found.code == 1
    assert "Traceback" in found.err
    assert "error: " in found.err


@pytest.mark.parametrize("fault", [ZeroDivisionError, BrokenPipeError])  # of a socket, not of the output
def test_a_fault_of_the_program_is_one_line_too(capsys: pytest.CaptureFixture[str], fault: type[Exception]) -> None:
    @click.command("broken")
    def broken() -> None:
        raise fault("text\x1b[2J")

    assert run(["broken"], group=click.Group(commands=[broken])) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: unexpected {fault.__name__} at test_main.py:")
    assert err.splitlines()[1] == f"hint: {main.FAULT}"
    assert "\x1b" not in err


@pytest.mark.parametrize(
    "lack",
    [RuntimeError("can't start new thread"), MemoryError(), OSError(errno.EMFILE, "Too many open files", "a.yaml")],
)
def test_a_limit_of_the_system_is_no_fault_of_the_program(capsys: pytest.CaptureFixture[str], lack: Exception) -> None:
    @click.command("broken")
    def broken() -> None:
        raise lack

    assert run(["broken"], group=click.Group(commands=[broken])) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: the system gives no more: ")
    assert err.splitlines()[1] == f"hint: {main.LACKING_HINT}"


def test_an_interrupt_with_calls_under_way_does_not_say_that_nothing_more_changes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @click.command("broken")
    def broken() -> None:
        raise click.Abort

    answered = threading.Event()
    call = threading.Thread(target=answered.wait)
    call.start()
    try:
        assert run(["broken"], group=click.Group(commands=[broken])) == 1
    finally:
        answered.set()
        call.join()
    assert capsys.readouterr().err.startswith("error: interrupted: calls under way may still change something\nhint: ")


def test_an_output_without_space_is_reported_in_one_line(cli: CliHarness) -> None:
    cli("status")
    files = ["--config", cli.folder / "reconciler.yaml", "--stores", cli.folder / "stores.yaml"]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "reconciler.cli", *map(str, files), "plan"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no space left on the device\nhint: free space")
    assert len(done.stderr.splitlines()) == 2


def test_a_process_without_stderr_shows_its_results(cli: CliHarness) -> None:
    cli("status")
    files = ["--config", cli.folder / "reconciler.yaml", "--stores", cli.folder / "stores.yaml"]
    command = shlex.join([sys.executable, "-m", "reconciler.cli", *map(str, files), "status"])
    done = subprocess.run(f"{command} 2>&-", shell=True, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    assert "acme-us" in done.stdout


def test_an_argument_that_is_no_text_is_wrong_usage(cli: CliHarness) -> None:
    found = cli("explain", "Zo\udceb")  # as Python reads a byte that the locale does not know
    assert found.code == 64
    assert found.err.startswith("error: an argument is not valid text in this locale\nhint: ")


def test_a_terminal_that_says_it_has_no_width_shows_the_status(
    cli: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert "acme-us" in cli("status").out


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "--user", "user_absent"),
        ("apply", "--user", "user_absent", "--yes"),
        ("explain", "user_absent"),
        ("nudge", "user_absent"),
    ],
    ids=lambda words: words[0],
)
def test_an_unknown_user_is_an_error_that_names_them(cli: CliHarness, words: tuple[str, ...]) -> None:
    assert cli("bootstrap", "--yes").code == 0
    said = cli(*words)
    assert said.code == 1
    assert "unknown: user_absent" in said.err
    assert "unknown: " not in cli(*(word.replace("absent", "ada") for word in words)).err


def test_undo_of_a_plan_that_nothing_was_written_for_is_an_error(cli: CliHarness) -> None:
    said = cli("undo", "--plan", "sha256:nope", "--yes")
    assert said.code == 1
    assert said.out == ""
    assert said.err.splitlines()[0] == "error: nothing was written for a plan sha256:nope"


@pytest.mark.parametrize("command", ["status", "mappings list", "db check", "plan"])
def test_the_options_of_the_settings_files_are_accepted_before_and_after_the_command(
    ready: CliHarness, command: str
) -> None:
    ready("status")
    files = ["--config", str(ready.folder / "reconciler.yaml"), "--stores", str(ready.folder / "stores.yaml")]
    words = command.split()
    for line in ([*files, *words], [*words, *files], [*files[:2], *words, *files[2:]], [words[0], *files, *words[1:]]):
        said = ready.type(line)
        assert said.code == 0, said.err
    said = ready.type([*files, *words, "--config", str(ready.folder / "none.yaml")])
    assert said.code == 1
    assert "none.yaml" in said.err


@pytest.mark.matrix
@pytest.mark.parametrize("command", ["simulate", "demo"])
@pytest.mark.parametrize("absent", ["graphql", "faker"])
def test_without_the_simulators_extra_the_two_commands_name_it(command: str, absent: str) -> None:
    program = f"import sys; sys.modules[{absent!r}] = None; from reconciler.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program, command], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert f"error: `reconciler {command}` needs the simulator, and {absent} is not installed" in done.stderr
    assert "customer-parity[simulator]" in done.stderr


EARLY = """
import os, signal, sys

class Interrupted:
    def find_spec(self, name, path, target=None):
        if name in {"reconciler.cli.main", "reconciler.cli.usage.plan"}:
            os.kill(os.getpid(), signal.SIGNAL)

sys.meta_path.insert(0, Interrupted())
from reconciler.cli.start import main
main(process=PROCESS)
"""


def interrupted(number: signal.Signals, *, process: int = 2, shell: str = ":") -> subprocess.CompletedProcess[str]:
    """`reconciler plan --help`, which gets this signal twice while it is imported. `shell`: what is run before it."""
    program = EARLY.replace("SIGNAL", number.name).replace("PROCESS", f"{process}")
    words = ["sh", "-c", f'{shell}; exec "$@"', "sh", sys.executable, "-c", program, "plan", "--help"]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_an_interrupt_while_the_program_is_imported_leaves_no_traceback() -> None:
    done = interrupted(signal.SIGINT)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_a_job_that_a_script_has_in_the_background_ignores_interrupts_as_others_do() -> None:
    done = interrupted(signal.SIGINT, shell="trap '' INT")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: reconciler plan" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_process_of_a_container_ends_by_a_signal_from_the_start(number: signal.Signals) -> None:
    """The system drops a signal that this process has no handler for."""
    done = interrupted(number, process=1)
    assert (done.returncode, done.stderr) == (128 + number, "")


@pytest.mark.parametrize("searched", [False, True])
def test_plugins_of_pydantic_are_searched_for_only_where_an_operator_wants_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, searched: bool
) -> None:
    """The search is 1 % of the CPU of a plan of 2,000 users."""
    (tmp_path / "beside.dist-info").mkdir()
    (tmp_path / "beside.dist-info" / "entry_points.txt").write_text("[pydantic]\nbeside = beside\n")
    plugin = "new_schema_validator = lambda *_, **__: (None, None, None)\nprint('the plugin is imported')\n"
    (tmp_path / "beside.py").write_text(plugin)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("PYDANTIC_DISABLE_PLUGINS", raising=False)
    if searched:
        monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", "")
    command = [sys.executable, "-m", "reconciler.cli", "schema"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("the plugin is imported" in done.stdout) == searched


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("reconciler ")


def test_a_reader_who_leaves_early_gets_no_complaint(cli: CliHarness) -> None:
    cli("status")
    files = ["--config", cli.folder / "reconciler.yaml", "--stores", cli.folder / "stores.yaml"]
    command = [sys.executable, "-m", "reconciler.cli", *map(str, files), "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "--user", ""),
        ("plan", "--user", "user_ada", "--user", " "),
        ("apply", "--user", "", "--yes"),
        ("explain", ""),
        ("nudge", "user_ada", ""),
        ("mappings", "forget", "", "--yes"),
    ],
    ids=" ".join,
)
def test_an_empty_id_is_wrong_usage_and_nothing_is_done(ready: CliHarness, words: tuple[str, ...]) -> None:
    calls = len(ready.shop().calls)
    said = ready(*words)
    assert (said.code, said.out) == (64, "")
    assert "the user id is empty" in said.err
    assert f"hint: reconciler {words[0]}" in said.err
    assert len(ready.shop().calls) == calls
    assert [s["pending"] for s in ready("status", "--output", "json").json["stores"]] == [0, 0]


def test_a_nudge_is_taken_though_the_profiles_can_not_be_read(ready: CliHarness) -> None:
    ready.sql("drop table customers")
    said = ready("nudge", "user_ada", "--store", "acme-us")
    assert said.code == 0
    assert "used without a check: there is no table or view customers" in said.err
    assert said.err.endswith("enqueued 1 request for a running controller\n")
    assert [s["pending"] for s in ready("status", "--output", "json").json["stores"]] == [1, 0]
