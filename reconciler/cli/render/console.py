"""The consoles of a command: stdout for results, stderr for everything else."""

from __future__ import annotations

import errno

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Output(Console):
    """Stdout for people. A closed pipe raises BrokenPipeError, so that the command can report it before it exits."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "stdout was closed")


def output_console() -> Console:
    """The console of stdout."""
    return Output(highlight=False)


def error_console() -> Console:
    """The console of stderr."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def progress_on(console: Console) -> Progress:
    """Progress bars on this console; disabled if it is not a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
