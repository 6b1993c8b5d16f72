"""Makes a run that fails smaller: fewer kinds of faults, fewer people and changes, a shorter storm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.simulation.faults import FAULTS
from tests.simulation.simulation import LOST_CALLS, SLOW_CALLS, Outcome, Variant, simulate
from tests.simulation.sizes import Size

PEOPLE_MIN, STORM_MIN_S, STEPS_MIN = 2, 120.0, 2


@dataclass(frozen=True, slots=True)
class Case:
    """One run, and the options that repeat it."""

    seed: int
    size: Size
    variant: Variant
    options: str = ""

    def run(self) -> Outcome:
        return simulate(self.seed, self.size, self.variant)

    def command(self, of: Size) -> str:
        """`of`: the size that the options name already."""
        said = [f"python -m tests.simulation --seed {self.seed} --runs 1", self.options]
        said += [f"--people {self.size.people}"] if self.size.people != of.people else []
        said += [f"--storm {self.size.storm_s:g}"] if self.size.storm_s != of.storm_s else []
        said += [f"--step {self.size.step_s:g}"] if self.size.step_s != of.step_s else []
        said += [f"--without '{name}'" for name in sorted(self.variant.without)]
        return " ".join(part for part in said if part)


def smaller(case: Case, injected: frozenset[str]) -> Iterator[Case]:
    """Each way to make it a little smaller, those that save most first. `injected`: the faults that it met."""
    size, variant = case.size, case.variant
    if size.storm_s / 2 >= STORM_MIN_S:
        yield replace(case, size=replace(size, storm_s=size.storm_s / 2))
    for name in (*(kind for kind in FAULTS if kind in injected), LOST_CALLS, SLOW_CALLS):
        if name not in variant.without:
            yield replace(case, variant=replace(variant, without=variant.without | {name}))
    if size.people // 2 >= PEOPLE_MIN:
        yield replace(case, size=replace(size, people=size.people // 2))
    if size.storm_s / (2 * size.step_s) >= STEPS_MIN:
        yield replace(case, size=replace(size, step_s=2 * size.step_s))


def minimise(case: Case, failed: Outcome, go_on: Callable[[], bool]) -> tuple[Case, Outcome]:
    """The smallest run that was found to fail in the same way, until none is smaller or `go_on` is False."""
    kinds = {each.kind for each in failed.violations}
    tried: set[Case] = set()
    while True:
        for each in smaller(case, frozenset(failed.injected)):
            if not go_on():
                return case, failed
            if each in tried:
                continue
            tried.add(each)
            outcome = each.run()
            if kinds & {violation.kind for violation in outcome.violations}:
                case, failed = each, outcome
                break
        else:
            return case, failed
