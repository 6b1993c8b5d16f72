"""The verdict on waves sees what it is there to see: each row is when customers of both waves got the tag of one edit."""

from __future__ import annotations

import pytest

from tests.chaos.checker import Life
from tests.chaos.people import EU, US, Population, User
from tests.chaos.shops import Shops, make_world
from tests.simulation.sizes import QUICK
from tests.simulation.waves import Edit, Files, wave_violations

SOAK_S = QUICK.soak_s
DONE = 1100.0


@pytest.mark.parametrize(
    ("auto", "bad", "second", "said_at", "found"),
    [
        (True, False, DONE + SOAK_S, None, 0),
        (True, False, DONE + SOAK_S - 1, None, 1),
        (True, False, DONE - 1, None, 1),
        (True, False, None, None, 0),
        (True, False, DONE + 10, DONE + 9, 0),
        (True, False, DONE + 10, DONE + 11, 1),
        (True, True, DONE + SOAK_S, None, 1),
        (True, True, DONE + SOAK_S, DONE + 5, 0),
        (False, False, DONE + SOAK_S, None, 1),
        (False, False, DONE + SOAK_S, DONE + 5, 0),
    ],
)
def test_wave_two_begins_after_the_soak_or_when_an_operator_says_so(
    *, auto: bool, bad: bool, second: float | None, said_at: float | None, found: int
) -> None:
    edits = [Edit(), Edit(1, waves=True, bad=bad, at=1000.0)]
    files = Files(QUICK, auto=auto, edits=edits, continued=[(said_at, 1)] if said_at is not None else [])
    assert violations_of(files, {1: DONE}, {1: second} if second is not None else {}) == found


@pytest.mark.parametrize(("bad_before", "found"), [(False, 1), (True, 0)])
def test_a_bad_edit_stops_no_wave_where_the_edit_before_holds_the_same_users(*, bad_before: bool, found: int) -> None:
    edits = [Edit(), Edit(1, waves=True, bad=bad_before, at=500.0), Edit(2, waves=True, bad=True, at=1000.0)]
    files = Files(QUICK, auto=True, edits=edits)
    assert violations_of(files, {1: 600.0, 2: DONE}, {2: DONE + SOAK_S}) == found


def violations_of(files: Files, first: dict[int, float], second: dict[int, float]) -> int:
    """`first` and `second`: when a customer of each wave got the tags of the edits."""
    one, other = (EU, "gid://shopify/Customer/1"), (US, "gid://shopify/Customer/2")
    shops = Shops(make_world(1))
    shops.lives = {key: Life(*key, steps=[(400.0, "user_a", "a@example.com")]) for key in (one, other)}
    population = Population(users={"user_a": User("user_a", "app", "a@example.com", "Ada", "Byron")})
    files.tagged = {one: first, other: second}
    return len(list(wave_violations(population, shops, files)))
