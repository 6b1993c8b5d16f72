"""The consoles of a command: stdout for results, stderr for everything else."""

from __future__ import annotations

import errno

from rich.console import Console

WIDTH = 80  # where COLUMNS is 0


class Output(Console):
    """Stdout for people. A closed pipe raises BrokenPipeError, so that the command can report it before it exits."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "stdout was closed")


def output_console() -> Console:
    """The console of stdout."""
    return _with_width(Output(highlight=False))


def error_console() -> Console:
    """The console of stderr."""
    return _with_width(Console(stderr=True, highlight=False, soft_wrap=True))


def _with_width(console: Console) -> Console:
    """The console, with a usual width if the environment says that there is none: nothing would be shown."""
    if console.width < 1:
        console.width = WIDTH
    return console
