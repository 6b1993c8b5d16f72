"""python -m tests.simulation: one run after the other, by seed. Exit code 0 if nothing was violated, else 1."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from tests.simulation.history import HISTORY
from tests.simulation.simulation import LONG, PRODUCT, SHORT, Outcome, simulate

TRACE_SHOWN = 60


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="the first seed; default: any")
    parser.add_argument("--runs", type=int, default=1_000_000, help="how many seeds at most")
    parser.add_argument("--minutes", type=float, default=10.0, help="no run begins later")
    parser.add_argument(
        "--short", action="store_true", help="the size of the test suite: fewer people, a shorter storm"
    )
    parser.add_argument("--history", choices=sorted(HISTORY), help="put this fault of the past back")
    parser.add_argument("--trace", type=int, default=TRACE_SHOWN, help="lines of the trace to show of a failure")
    options = parser.parse_args(arguments)
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    size, variant = SHORT if options.short else LONG, HISTORY[options.history] if options.history else PRODUCT
    until, found = time.monotonic() + options.minutes * 60, []
    for seed in range(first, first + options.runs):
        if time.monotonic() > until:
            break
        found.append(outcome := simulate(seed, size, variant))
        if outcome.violations:
            say(report_of(outcome, trace=options.trace))
            say(f"again: python -m tests.simulation --seed {seed} --runs 1" + (" --short" if options.short else ""))
    say(summary_of(found))
    return 1 if any(outcome.violations for outcome in found) else 0


def report_of(outcome: Outcome, *, trace: int = TRACE_SHOWN) -> str:
    """A failure: what is wrong, what happened to which user, and the end of the trace."""
    lines = [f"seed {outcome.seed}: FAILED, trace {outcome.digest}"]
    lines += [f"  {each.kind}: {each.who}: {each.what}" for each in outcome.violations]
    lines += [f"  {user}: {story}" for user, story in outcome.stories.items()]
    return "\n".join([*lines, *(f"    {line}" for line in outcome.trace[-trace:])])


def summary_of(found: list[Outcome]) -> str:
    """Figures of all runs."""
    injected: Counter[str] = sum((outcome.injected for outcome in found), Counter())
    rows = {
        "runs, failed": f"{len(found)}, {sum(bool(outcome.violations) for outcome in found)}",
        "distinct interleavings": str(len({outcome.digest for outcome in found})),
        "virtual hours": f"{sum(outcome.hours for outcome in found):.0f}",
        "scheduling points": str(sum(outcome.points for outcome in found)),
        "changes, mutations": f"{sum(o.changes for o in found)}, {sum(o.mutations for o in found)}",
        "faults": f"{injected.total()}: " + ", ".join(f"{name} {n}" for name, n in sorted(injected.items())),
    }
    width = max(len(name) for name in rows)
    return "\n".join(f"  {name:{width}}  {value}" for name, value in rows.items())


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
