"""Pieces of work side by side: whatever ends one of them, nothing continues unseen, and nothing that was yielded is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from reconciler.controller.parallel import Cancellation, Cancelled, run_parallel
from reconciler.errors import StateError

WAIT_S = 60.0


def numbers(first: int, count: int) -> Iterator[int]:
    yield from range(first, first + count)


def until_ended(cancellation: Cancellation, ends: list[str]) -> Iterator[int]:
    """Continues for as long as it may."""
    try:
        yield 0
        while True:
            cancellation.sleep(time.sleep, 0.001)
    finally:
        ends.append("ended")


def fails(after: int) -> Iterator[int]:
    yield from range(100, 100 + after)
    raise StateError("our own database is away")


def test_everything_that_all_of_them_yield_comes_once_with_the_name_of_its_work() -> None:
    works = {"a": lambda: numbers(0, 500), "b": lambda: numbers(0, 300), "c": lambda: numbers(0, 0)}
    found = list(run_parallel(works, Cancellation(), at_once=2, name="test", one_ends_all=True))
    assert {key: [n for k, n in found if k == key] for key in works} == {
        "a": list(range(500)), "b": list(range(300)), "c": []
    }  # fmt: skip


def test_an_error_ends_the_others_where_they_may_end_and_is_raised() -> None:
    cancellation, ends, found = Cancellation(), list[str](), list[tuple[str, int]]()
    works = {"continues": lambda: until_ended(cancellation, ends), "fails": lambda: fails(3)}
    with pytest.raises(StateError):
        found.extend(run_parallel(works, cancellation, at_once=2, name="test", one_ends_all=True))
    assert len(ends) <= 1  # it may not have begun
    assert [each for each in found if each[0] == "fails"] == [("fails", 100), ("fails", 101), ("fails", 102)]


def test_where_they_are_nothing_to_each_other_the_others_go_on_to_their_ends() -> None:
    works = {"fails": lambda: fails(0), "other": lambda: numbers(0, 200)}
    found: list[tuple[str, int]] = []
    with pytest.raises(StateError):
        found.extend(run_parallel(works, Cancellation(), at_once=2, name="test", one_ends_all=False))
    assert found == [("other", n) for n in range(200)]


def test_a_caller_who_takes_no_more_ends_all_of_them_first() -> None:
    cancellation, ends = Cancellation(), list[str]()
    works = {name: lambda: until_ended(cancellation, ends) for name in "abcdef"}
    taken = run_parallel(works, cancellation, at_once=3, name="unwanted", one_ends_all=True)
    next(taken)
    taken.close()
    assert 1 <= len(ends) <= 3  # those who had begun
    assert not [t for t in threading.enumerate() if t.name.startswith("unwanted")]


def test_what_ends_from_outside_ends_within_and_says_so() -> None:
    outer = Cancellation()
    inner, ends = Cancellation(outer), list[str]()
    works = {"a": lambda: until_ended(inner, ends)}
    taken = run_parallel(works, inner, at_once=1, name="test", one_ends_all=True)
    assert next(taken) == ("a", 0)
    outer.cancel()
    with pytest.raises(Cancelled):
        next(taken)
    assert ends == ["ended"]
    inner, outer = Cancellation(other := Cancellation()), other
    inner.cancel()
    assert (inner.is_cancelled, outer.is_cancelled) == (True, False)


def test_a_long_pause_ends_when_it_is_over() -> None:
    cancellation, naps = Cancellation(), list[float]()

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            cancellation.cancel()

    with pytest.raises(Cancelled):
        cancellation.sleep(nap, 3600)
    assert naps == [1.0, 1.0, 1.0]
    rest = list[float]()
    Cancellation().sleep(rest.append, 2.5)
    assert rest == [1.0, 1.0, 0.5]
