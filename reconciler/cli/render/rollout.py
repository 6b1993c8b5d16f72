"""Prints a rollout: its state, what happens next, and what each wave did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Console

from reconciler.cli.render.flow import LinePrinter
from reconciler.cli.render.json import dumps
from reconciler.cli.render.plain import clean, count_text, time_text, value_text
from reconciler.core.model.rollout import PolicyDifference
from reconciler.core.report.documents import rollout_document
from reconciler.core.report.rollout import RolloutReport, WaveReport

POLICIES: Final = {
    "new": "policy of stores.yaml",
    "earlier": "earlier policy",
    "none": "not synced yet, or not known",
}
NAMES_MAX = 3
VALUES_MAX = 5  # of a list, such as one of `where`


def rollout_json(report: RolloutReport | None) -> str:
    """The rollout as JSON; None where all stores are in one wave."""
    return dumps(rollout_document(report))


def headline(report: RolloutReport) -> Iterator[str]:
    """The state of the rollout, what it waits for, and what happens next, a line each."""
    yield f"rollout: {clean(report.headline)}"
    waiting: dict[str, list[str]] = {}
    for store in (store for wave in report.waves for store in wave.stores if store.waits_for):
        waiting.setdefault(store.waits_for, []).append(store.store)
    for words, names in waiting.items():
        yield f"  {_named(names)} {'waits' if len(names) == 1 else 'wait'} for: {clean(words)}"
    if report.next_step:
        yield f"next: {report.next_step}"


def print_headline(report: RolloutReport, console: Console) -> None:
    """Print what `headline` says."""
    lines = LinePrinter(console)
    for line in headline(report):
        lines.prose(line, hang=2)


def print_rollout(report: RolloutReport, console: Console) -> None:
    """Print the report as text."""
    lines = LinePrinter(console)
    print_headline(report, console)
    if report.began_at is not None and report.phase not in {None, "finished"}:
        lines.put((f"began {time_text(report.began_at)}, by {clean(report.began_by or '')}", "dim"))
    for wave in report.waves:
        lines.blank()
        lines.put((f"wave {wave.wave}", "bold"), (f"  {wave.state}{_counts(wave)}", ""))
        for policy, words in POLICIES.items():
            names = [clean(store.store) for store in wave.stores if store.policy == policy]
            if names:
                lines.prose(f"{words}: {', '.join(names)}", indent=2, hang=2)
            for line in _changes(wave, policy):
                lines.prose(line, indent=4, hang=2)


def _changes(wave: WaveReport, policy: str) -> Iterator[str]:
    """What is new for stores with this policy; each line names its stores where they are not all of these."""
    earlier = [store for store in wave.stores if store.policy == policy and store.changes]
    stores_of: dict[str, list[str]] = {}
    for store in earlier:
        for change in store.changes:
            stores_of.setdefault(clean(f"{change.key}: {_change_text(change)}"), []).append(store.store)
    for line, names in stores_of.items():
        yield line if len(names) == len(earlier) else f"{line} ({_named(names)})"


def _change_text(change: PolicyDifference) -> str:
    """`locale → language`; of two lists what comes and what goes: `+ de, - fr`."""
    parts = [f"{sign} {_listed(values)}" for sign, values in (("+", change.added), ("-", change.removed)) if values]
    return ", ".join(parts) or f"{_listed(change.before)} → {_listed(change.after)}"


def _listed(value: object) -> str:
    """The value; of a long list the first ones, and how many more there are."""
    if not isinstance(value, list | tuple) or len(value) <= VALUES_MAX:
        return value_text(value)
    return f"{value_text(value[:VALUES_MAX])} and {len(value) - VALUES_MAX:,} more"


def _named(names: list[str]) -> str:
    """Three names, and how many more there are."""
    more = f" and {count_text(len(names) - NAMES_MAX, 'more store')}" if len(names) > NAMES_MAX else ""
    return ", ".join(clean(name) for name in names[:NAMES_MAX]) + more


def _counts(wave: WaveReport) -> str:
    counts = wave.counts
    if counts is None:
        return ""
    of = f" of {count_text(counts.touched, 'touched user')}"
    return f": {counts.changed:,} changed, {counts.failed:,} failed, {counts.held:,} newly held{of}"
