"""The standard streams and the arguments of a process, as schedulers, pipes and locales leave them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

STANDARD = 3  # stdin, stdout, stderr


def open_streams() -> None:
    """Open the standard streams that the caller closed on the null device.

    Otherwise the next file or socket gets the number of a standard stream, and Python has no stream to write to.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) < STANDARD:
        os.set_inheritable(number, True)  # noqa: FBT003  the one argument there is
    os.close(number)
    null = Path(os.devnull)
    sys.stdin = sys.stdin or null.open(encoding="utf-8")
    sys.stdout = sys.stdout or null.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or null.open("w", encoding="utf-8")


def drop_unwritten() -> bool:
    """Drop what cannot be written to stdout and stderr, because the reader has left or the disk is full.

    Returns whether there was any. Python would try again at the exit, print a traceback and change the exit code.
    """
    has_dropped = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            has_dropped = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return has_dropped


def has_unreadable(argv: list[str]) -> bool:
    """Whether an argument has bytes that are no text in this locale."""
    return any("\udc80" <= character <= "\udcff" for argument in argv for character in argument)
