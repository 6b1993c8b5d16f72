"""Which tests `make test`, `make slow` and `make explore` run.

Of a parametrised test `make test` and `make slow` run:
- `matrix`: as few rows as have each value. For parameters that each alone decide what the product does. What depends on one
  combination has a test of its own. In the folders `PER_DATABASE` this holds without the mark, and rows through the
  transaction pooler stand for those directly on Postgres.
- In the folders `COSTLY` a test without a mark states one property of many variants: its first and its last row.
- `each_row`: every row, for variants that are rules of their own and have no cheaper test.

In the folders `COSTLY` all but the first of them are for `make slow`, where the test is not marked `each_row`.

The tests in the folders `SLOW` are for `make slow`, as those with the mark `slow`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from itertools import chain
from typing import Any

import pytest

COSTLY = frozenset({"cli", "controller", "manager", "scenarios", "stories"})
PER_DATABASE = frozenset({"contracts", "state", "supabase"})
SLOW = frozenset({"browser", "scenarios", "shipping"})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is not for `make test` with `slow`, or with `explore`."""
    rows: dict[str, list[pytest.Function]] = {}
    for item in items:
        if item.path.parent.name in SLOW:
            item.add_marker("slow")
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and not item.get_closest_marker("explore"):
            rows.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for same in rows.values():
        chosen = chosen_of(same)
        for at, item in enumerate(same):
            if at not in chosen:
                item.add_marker("explore")
            elif at and item.path.parent.name in COSTLY and not same[0].get_closest_marker("each_row"):
                item.add_marker("slow")


def chosen_of(same: Sequence[pytest.Function]) -> Collection[int]:
    """The positions of the rows of one test that `make test` or `make slow` runs."""
    folder = same[0].path.parent.name
    if same[0].get_closest_marker("each_row"):
        return range(len(same))
    if same[0].get_closest_marker("matrix") or folder in PER_DATABASE:
        rows = {at: values_of(item) for at, item in enumerate(same)}
        if folder in PER_DATABASE:
            rows = without_second_postgres(rows)
        positions = list(rows)
        return {positions[at] for at in covering(list(rows.values()))}
    return {0, len(same) - 1} if folder in COSTLY else range(len(same))


def without_second_postgres(rows: dict[int, frozenset[tuple[str, str]]]) -> dict[int, frozenset[tuple[str, str]]]:
    """The rows less those directly on Postgres, where others go there through the transaction pooler."""
    pooled = {name for row in rows.values() for name, value in row if value == repr("pooler")}
    direct = {(name, repr("postgres")) for name in pooled}
    return {at: row for at, row in rows.items() if not row & direct}


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
