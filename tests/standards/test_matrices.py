"""Which rows of a matrix `make test` runs."""

from itertools import product

import pytest

from tests.matrices import covering, values_of, without_second_postgres


def test_each_value_occurs_in_the_chosen_rows_and_as_often_as_the_others() -> None:
    rows = [
        frozenset({("kind", kind), ("seed", seed), ("late", late)})
        for kind, seed, late in product("abcd", range(4), [0, 1])
    ]
    chosen = [rows[at] for at in covering(rows)]
    assert set().union(*chosen) == set().union(*rows)
    assert len(chosen) == 4
    assert sum(("late", 0) in row for row in chosen) == 2


def test_a_matrix_of_one_row_keeps_it() -> None:
    assert covering([frozenset({("kind", 0)})]) == {0}


def test_rows_through_the_pooler_replace_those_directly_on_postgres() -> None:
    rows = {at: frozenset({("database", repr(kind))}) for at, kind in enumerate(("sqlite", "postgres", "pooler"))}
    assert set(without_second_postgres(rows)) == {0, 2}
    without_pooler = {at: row for at, row in rows.items() if at != 2}
    assert without_second_postgres(without_pooler) == without_pooler


@pytest.mark.matrix
@pytest.mark.parametrize("first", "abc")
@pytest.mark.parametrize("second", range(3))
def test_a_marked_test_has_as_few_rows_as_have_each_value(
    request: pytest.FixtureRequest, first: str, second: int
) -> None:
    kept = [
        values_of(item)
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.originalname == request.function.__name__
        and not item.get_closest_marker("explore")
    ]
    assert len(kept) == 3
    assert len(set().union(*kept)) == 6
