"""Tests of many combinations: `make test` runs as many that each value occurs, `make explore` runs all.

For a test that is expensive, and of which each parameter alone decides what the product does. A test marked `matrix` that
depends on one combination has a test of its own for that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from itertools import chain
from typing import Any

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all but the chosen rows of each test that is marked `matrix` with `explore`."""
    rows: dict[str, list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("matrix"):
            rows.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for same in rows.values():
        chosen = covering([values_of(item) for item in same])
        for at, item in enumerate(same):
            if at not in chosen:
                item.add_marker("explore")


def values_of(item: pytest.Function) -> frozenset[tuple[str, str]]:
    """The parameters of a row: each with its value, as text."""
    return frozenset((name, repr(value)) for name, value in item.callspec.params.items())


def covering(rows: Sequence[Collection[Hashable]]) -> set[int]:
    """The positions of few rows that have all values between them: again and again the one with the most new values.

    Of several such rows, the one with the values that occurred least.
    """
    used = Counter(dict.fromkeys(chain.from_iterable(rows), 0))
    chosen: set[int] = set()
    while not all(used.values()):
        best = max(
            range(len(rows)), key=lambda at: (sum(not used[v] for v in rows[at]), -sum(used[v] for v in rows[at]))
        )
        chosen.add(best)
        used.update(rows[best])
    return chosen


def seeds(count: int, *, quick: int) -> list[Any]:
    """The seeds of a random test: `make test` runs the first `quick` of them, `make explore` all."""
    return [*range(quick), *(pytest.param(seed, marks=pytest.mark.explore) for seed in range(quick, count))]
