"""Which rows of a matrix `make test` runs."""

from itertools import product

from tests.matrices import covering


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
