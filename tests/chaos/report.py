"""What is printed: the plan before, and one table after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.chaos.checker import KINDS, Violation, counted
from tests.chaos.plan import Fault

SHOWN = 8


@dataclass(slots=True)
class Outcome:
    """All of one soak. It has passed when there is no violation."""

    seed: int
    seconds: float
    violations: list[Violation] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    stories: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.violations


def planned(faults: Iterable[Fault]) -> str:
    """The plan, a line for each lane."""
    lanes: dict[str, list[str]] = {}
    for fault in faults:
        lanes.setdefault(fault.lane, []).append(f"{fault.at:.0f}s {fault.kind}" + f" {fault.seconds:.0f}s")
    return "\n".join(f"  {lane:9} {', '.join(said)}" for lane, said in lanes.items())


def table(outcome: Outcome) -> str:
    """One table: what must be 0, then what else was measured; below it the first violations of each kind."""
    counts = counted(outcome.violations)
    rows = [(kind, str(counts[kind])) for kind in KINDS]
    rows += [("", "")]
    rows += list(outcome.facts.items())
    width = max(len(name) for name, _ in rows)
    verdict = "passed" if outcome.passed else "FAILED"
    lines = [f"seed {outcome.seed}, {outcome.seconds / 60:.1f} minutes: {verdict}"]
    lines += [f"  {name:{width}}  {value}".rstrip() for name, value in rows]
    stories = [f"  {user}: {story}" for user, story in outcome.stories.items()]
    return "\n".join([*lines, *_examples(outcome.violations, counts), *stories[: SHOWN * 2]])


def _examples(violations: Iterable[Violation], counts: Mapping[str, int]) -> list[str]:
    lines: list[str] = []
    for kind in sorted(counts):
        some = [each for each in violations if each.kind == kind]
        lines += [f"  {kind}: {each.who}: {each.what}" for each in some[:SHOWN]]
        if len(some) > SHOWN:
            lines.append(f"  {kind}: and {len(some) - SHOWN} more")
    return lines
