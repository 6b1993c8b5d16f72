"""The modules that one request passes: how often the path changes from one file of the controller to another.

    python -m tests.benchmarks.trace_path

Counts, and no times: a signed Clerk webhook from the server to a written mapping, and one `apply --yes`, traced by
`sys.setprofile`. The simulator, imports, and what runs on a timetable are left out. A *stop* is a module of the controller
that the path enters from another one by a call; a *move* is the same for any two files.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import CO_OPTIMIZED
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any, Final

import reconciler
from reconciler.cli.main import run as command
from tests.clock import WallClock
from tests.manager.harness import RunHarness, Running, run_harness, until, user_event

PACKAGE: Final = f"{Path(reconciler.__file__).parent}/"
OF_A_WEBHOOK: Final = ("AnyIO", "dispatch", "worker")
"""The threads that take a webhook and work on it, by the beginning of their names; the others follow a timetable."""


@dataclass(slots=True)
class Trace:
    """Which files the calls of each thread were in, in order, while it was on."""

    threads: dict[str, list[str]] = field(default_factory=dict)
    is_on: bool = False

    def note(self, frame: FrameType, event: str, _argument: Any) -> None:
        """What `sys.setprofile` calls."""
        name = frame.f_code.co_filename
        is_function = bool(
            frame.f_code.co_flags & CO_OPTIMIZED
        )  # bodies of modules and classes run when they are imported
        if self.is_on and event == "call" and name.startswith(PACKAGE) and is_function:
            file = name.removeprefix(PACKAGE)
            if not file.startswith("simulator/"):
                self.threads.setdefault(threading.current_thread().name, []).append(file)

    @contextmanager
    def on(self) -> Iterator[None]:
        """Forget what was, and note what is called from here on."""
        self.threads.clear()
        self.is_on = True
        try:
            yield
        finally:
            self.is_on = False

    def only(self, *names: str) -> Trace:
        """The threads with names that begin so."""
        return Trace({name: files for name, files in self.threads.items() if name.startswith(names)})

    @property
    def files(self) -> list[str]:
        """All files that were visited."""
        return sorted({file for files in self.threads.values() for file in files})

    @property
    def moves(self) -> int:
        """How often the path went from one file to another."""
        return sum(len([*groupby(files)]) - 1 for files in self.threads.values())

    @property
    def stops(self) -> list[str]:
        """The modules of the controller, in the order in which they were entered."""
        inside = (file for files in self.threads.values() for file in files if file.startswith("controller/"))
        return [file.removeprefix("controller/").removesuffix(".py") for file, _ in groupby(inside)]


@contextmanager
def traced() -> Iterator[Trace]:
    """A trace of this thread and of all that are started here."""
    trace = Trace()
    threading.setprofile(trace.note)
    sys.setprofile(trace.note)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def webhook(folder: Path) -> Trace:
    """One webhook for a new user; another one before it has opened what is opened once."""
    with run_harness(folder) as harness, traced() as trace, harness.replica(lease_s=60.0) as run:
        run.scanned_all()
        _mapped(harness, run, "user_before")
        with trace.on():
            _mapped(harness, run, "user_traced")
        return trace.only(*OF_A_WEBHOOK)


def _mapped(harness: RunHarness, run: Running, user: str) -> None:
    at = WallClock().now()
    harness.person(user)
    assert run.clerk("user.created", user_event(user, updated_at=at)) == 202
    until(lambda: run.status(user) == "in_sync", f"{user} is in sync")
    run.settled()


def apply(folder: Path) -> Trace:
    """One `apply --yes` that creates one customer."""
    with run_harness(folder) as harness:
        harness.person("user_traced")
        harness.write()
        settings, stores = harness.paths
        with traced() as trace, trace.on():
            code = command(["--config", str(settings), "--stores", str(stores), "apply", "--yes", "--output", "json"])
        assert code == 0
        return trace


def show(name: str, trace: Trace) -> None:
    """The counts, and the stops in order."""
    said = f"{name}: {len(trace.stops)} stops in the controller, {len(trace.files)} files, {trace.moves} moves"
    print(said, " > ".join(trace.stops), "", sep="\n")  # noqa: T201  its output


def measured(trace: Callable[[Path], Trace]) -> Trace:
    """In a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return trace(Path(folder))


if __name__ == "__main__":
    show("webhook", measured(webhook))
    show("apply --yes", measured(apply))
