"""python -m tests.chaos: a soak. Exit code 0 if nothing was violated, else 1."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.chaos import plan, report
from tests.chaos.soak import SHORT, Soak, long, say


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=None, help="the same plan of faults and changes again; default: any"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of faults and changes; settling comes on top")
    parser.add_argument("--short", action="store_true", help="the profile of the test suite: seconds, hurried replicas")
    parser.add_argument("--lanes", default=",".join(plan.LANES), help="only these kinds of faults; empty: none")
    parser.add_argument("--logs", type=Path, default=None, help="keep the replicas' logs and settings in this folder")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    profile = SHORT if options.short else long(options.minutes)
    profile = replace(profile, lanes=tuple(lane for lane in options.lanes.split(",") if lane))
    say(f"seed {seed}: make soak SEED={seed} MINUTES={options.minutes:g}")
    say(report.planned(plan.faults(seed, profile.seconds, scale=profile.scale)))
    with tempfile.TemporaryDirectory(prefix="parity-soak-") as temporary:
        folder = options.logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = Soak(seed, profile, folder).run()
    say(report.table(outcome))
    return 0 if outcome.passed else 1


def _ended(number: int, _frame: object) -> None:
    """SIGTERM ends a soak as Ctrl-C does: whatever it has started is ended first."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _ended)
    sys.exit(main(sys.argv[1:]))
