"""The installed command: until it knows what to do, an interrupt ends it quietly, as SIGTERM does.

pydantic would search all installed distributions for plugins at each start, and we use none. An operator who does sets
PYDANTIC_DISABLE_PLUGINS, even to nothing.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

FIRST_PROCESS = 1  # in a container: the system drops its signals where it has no handler


def main(*, process: int | None = None) -> None:
    """Import and run the command line. `process`: the number of this process."""
    if (process or os.getpid()) == FIRST_PROCESS:
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGINT, _end)
    elif signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as of a script's job in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # noqa: TID251  it is read when the first model is made
    from reconciler.cli.main import main as run_and_exit  # noqa: PLC0415  imported after the signal is set

    run_and_exit()


def _end(number: int, _frame: FrameType | None) -> None:
    """End as a process that has no handler for this signal."""
    os._exit(128 + number)
