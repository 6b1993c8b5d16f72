"""One replica: `reconciler` itself, with a clock that can be moved, and shorter pauses if asked.

    python -m tests.chaos.replica '{"clock": FILE or null, "intervals": {…} or null}' ARGUMENTS…

FILE holds seconds that are added to the time, and is read each time. Timers that measure durations are monotonic, as in a
real machine when its clock is set.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

from reconciler.cli.main import main
from tests.clock import WallClock
from tests.program import intervals_of, program


class MovedClock(WallClock):
    """The wall clock, and as many seconds more as the file says."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> datetime:
        try:
            ahead_s = float(self._path.read_text() or 0)
        except (OSError, ValueError):  # while it is being written
            ahead_s = 0.0
        return super().now() + timedelta(seconds=ahead_s)


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    clock = MovedClock(Path(options["clock"])) if options["clock"] else None
    intervals = intervals_of(options["intervals"]) if options["intervals"] else None
    main(sys.argv[2:], group=program(clock=clock, intervals=intervals))
