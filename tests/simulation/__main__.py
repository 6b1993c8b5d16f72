"""python -m tests.simulation: one run after the other, by seed. Exit code 0 if nothing was violated, else 1."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace

from tests.simulation.history import HISTORY
from tests.simulation.minimise import Case, minimise
from tests.simulation.simulation import PRODUCT, Outcome
from tests.simulation.sizes import LONG, NORMAL, SHORT, Size

TRACE_SHOWN = 60


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="the first seed; default: any")
    parser.add_argument("--runs", type=int, default=1_000_000, help="how many seeds at most")
    parser.add_argument("--minutes", type=float, default=10.0, help="no run begins later")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--short", action="store_true", help="the size of the test suite: fewer people, a shorter storm")
    sizes.add_argument(
        "--long", action="store_true", help="weeks a run: few changes, and faults that take hours or days"
    )
    parser.add_argument("--postgres", action="store_true", help="the state on a modelled Postgres, instead of SQLite")
    parser.add_argument("--history", choices=sorted(HISTORY), help="put this fault of the past back")
    parser.add_argument("--trace", type=int, default=TRACE_SHOWN, help="lines of the trace to show of a failure")
    parser.add_argument("--minimise", type=float, default=0.0, metavar="MINUTES", help="make a run that fails smaller")
    smaller = parser.add_argument_group("a smaller run, as `--minimise` prints it")
    smaller.add_argument("--people", type=int)
    smaller.add_argument("--storm", type=float, metavar="SECONDS", help="how long changes and faults come")
    smaller.add_argument("--step", type=float, metavar="SECONDS", help="between two changes")
    smaller.add_argument("--without", action="append", default=[], metavar="FAULT")
    return parser.parse_args(arguments)


def case_of(options: argparse.Namespace, seed: int) -> Case:
    base = size_of(options)
    size = replace(
        base, people=options.people or base.people, storm_s=options.storm or base.storm_s,
        step_s=options.step or base.step_s,
    )  # fmt: skip
    variant = HISTORY[options.history] if options.history else PRODUCT
    variant = replace(variant, postgres=options.postgres, without=frozenset(options.without))
    words = [f"--{name}" for name in ("short", "long", "postgres") if getattr(options, name)]
    words += [f"--history '{options.history}'"] if options.history else []
    return Case(seed, size, variant, " ".join(words))


def size_of(options: argparse.Namespace) -> Size:
    return LONG if options.long else SHORT if options.short else NORMAL


def main(arguments: list[str]) -> int:
    options = read_arguments(arguments)
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    until, figures = time.monotonic() + options.minutes * 60, Figures()
    for seed in range(first, first + options.runs):
        if time.monotonic() > until:
            break
        case = case_of(options, seed)
        outcome = case.run()
        figures.add(outcome)
        if outcome.violations:
            say(report_of(outcome, trace=options.trace))
            say(f"again: {case.command(size_of(options))}")
            if options.minimise:
                shrink(case, outcome, options)
    say(str(figures))
    return 1 if figures.failed else 0


def shrink(case: Case, outcome: Outcome, options: argparse.Namespace) -> None:
    """Search a smaller run that fails in the same way, and print it."""
    until = time.monotonic() + options.minimise * 60
    case, outcome = minimise(case, outcome, lambda: time.monotonic() < until)
    say(report_of(outcome, trace=options.trace))
    say(f"smallest: {case.command(size_of(options))}")


def report_of(outcome: Outcome, *, trace: int = TRACE_SHOWN) -> str:
    """A failure: what is wrong, what happened to which user, and the end of the trace."""
    lines = [f"seed {outcome.seed}: FAILED, trace {outcome.digest}"]
    lines += [f"  {each.kind}: {each.who}: {each.what}" for each in outcome.violations]
    lines += [f"  {user}: {story}" for user, story in outcome.stories.items()]
    return "\n".join([*lines, *(f"    {line}" for line in outcome.trace[-trace:] if trace)])


@dataclass(slots=True)
class Figures:
    """What all runs were."""

    runs: int = 0
    failed: int = 0
    hours: float = 0.0
    points: int = 0
    changes: int = 0
    mutations: int = 0
    digests: set[str] = field(default_factory=set)
    orders: set[tuple[str, ...]] = field(default_factory=set)
    injected: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.failed += bool(outcome.violations)
        self.hours += outcome.hours
        self.points += outcome.points
        self.changes += outcome.changes
        self.mutations += outcome.mutations
        self.digests.add(outcome.digest)
        self.orders |= outcome.orders
        self.injected += outcome.injected

    def __str__(self) -> str:
        rows = {
            "runs, failed": f"{self.runs}, {self.failed}",
            "virtual hours": f"{self.hours:.0f}, in {time.process_time():.0f} s of CPU",
            "distinct interleavings": str(len(self.digests)),
            "distinct orders of three calls": f"{len(self.orders)}, of {self.points} scheduling points",
            "changes, mutations": f"{self.changes}, {self.mutations}",
            "faults": f"{self.injected.total()}: "
            + ", ".join(f"{name} {count}" for name, count in sorted(self.injected.items())),
        }
        width = max(len(name) for name in rows)
        return "\n".join(f"  {name:{width}}  {value}" for name, value in rows.items())


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
