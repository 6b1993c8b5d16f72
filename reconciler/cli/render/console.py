"""The consoles of a command: stdout for results, stderr for everything else."""

from __future__ import annotations

import errno

from rich.console import Console


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
