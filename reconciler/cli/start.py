"""The installed command: until it knows what to do, an interrupt ends it quietly, as SIGTERM does.

pydantic would search all installed distributions for plugins at each start, and we use none. An operator who does sets
PYDANTIC_DISABLE_PLUGINS, even to nothing.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import FrameType

FIRST_PROCESS = 1  # in a container: the system drops its signals where it has no handler


def main(*, process: int | None = None) -> None:
    """Import and run the command line. `process`: the number of this process."""
    codes: list[int] = []
    atexit.register(_end_at_once, codes)  # registered first, so it runs last
    if (process or os.getpid()) == FIRST_PROCESS:
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGINT, _end)
    elif signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as of a script's job in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # noqa: TID251  it is read when the first model is made
    from reconciler.cli.main import main as run_and_exit  # noqa: PLC0415  imported after the signal is set

    try:
        run_and_exit()
    except SystemExit as ending:
        if isinstance(ending.code, int):
            codes.append(ending.code)
        raise


def _end_at_once(codes: list[int]) -> None:
    """End the process with its exit code. Otherwise the interpreter frees all that was imported, one object at a time."""
    if not codes:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # the interpreter tries it again, and reports it
        return
    os._exit(codes[0])


def _end(number: int, _frame: FrameType | None) -> None:
    """End as a process that has no handler for this signal."""
    os._exit(128 + number)
