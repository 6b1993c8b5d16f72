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
    one, other = (EU, "gid://shopify/Customer/1"), (US, "gid://shopify/Customer/2")
    shops = Shops(make_world(1))
    shops.lives = {key: Life(*key, steps=[(900.0, "user_a", "a@example.com")]) for key in (one, other)}
    population = Population(users={"user_a": User("user_a", "app", "a@example.com", "Ada", "Byron")})
    files = Files(QUICK, auto=auto, edits=[Edit(), Edit(1, waves=True, bad=bad, at=1000.0)])
    files.tagged = {one: {1: DONE}, other: {1: second} if second is not None else {}}
    files.continued = [(said_at, 1)] if said_at is not None else []
    assert len(list(wave_violations(population, shops, files))) == found
