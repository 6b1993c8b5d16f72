"""One replica: `reconciler` itself, with a clock that can be moved, and shorter pauses if asked.

    python -m tests.chaos.replica '{"clock": FILE or null, "rhythm": {…} or null}' ARGUMENTS…

The clock is the product's own seam (the one clock that wiring has): FILE holds seconds that are added to the time, and is
read at every look. Timers that measure durations are monotonic, as in a real machine when its clock is set.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

from reconciler.cli.main import main
from reconciler.controller.worker import Pauses
from reconciler.manager import app as running
from reconciler.manager.intervals import Intervals
from reconciler.wiring import connections
from tests.clock import WallClock


class MovedClock(WallClock):
    """The wall clock, and as many seconds more as the file says."""

    path = Path()

    def now(self) -> datetime:
        try:
            ahead_s = float(self.path.read_text() or 0)
        except (OSError, ValueError):  # while it is being written
            ahead_s = 0.0
        return super().now() + timedelta(seconds=ahead_s)


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    if options["clock"]:
        MovedClock.path = Path(options["clock"])
        setattr(connections, "SystemClock", MovedClock)  # noqa: B010  all else is the command as it is
    if options["rhythm"]:
        intervals = options["rhythm"]
        hurried = Intervals(**{**intervals, "pauses": Pauses(**intervals.get("pauses", {}))})
        setattr(running, "Rhythm", lambda: hurried)  # noqa: B010  the same
    main(sys.argv[2:])
