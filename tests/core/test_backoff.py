"""How long a failed key waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.model.backoff import delay_s, fraction_of


def test_the_wait_doubles_with_each_failure_up_to_the_cap() -> None:
    waits = [delay_s(n, 1.0, base_s=2, cap_s=60) for n in range(1, 8)]
    assert waits == [2, 4, 8, 16, 32, 60, 60]


def test_jitter_takes_away_half_at_most() -> None:
    assert [delay_s(n, 0.0, base_s=2, cap_s=60) for n in (1, 2, 7)] == [1, 2, 30]


@given(st.integers(1, 10**9), st.floats(0, 1), st.floats(0.001, 60), st.floats(60, 86_400))
def test_any_number_of_failures_waits_some_time_and_never_longer_than_the_cap(
    attempts: int, fraction: float, base_s: float, cap_s: float
) -> None:
    wait = delay_s(attempts, fraction, base_s=base_s, cap_s=cap_s)
    assert base_s / 2 <= wait <= cap_s
    assert delay_s(attempts + 1, fraction, base_s=base_s, cap_s=cap_s) >= wait


@pytest.mark.parametrize(("attempts", "fraction"), [(0, 0.5), (-1, 0.5), (1, 1.5), (1, -0.1), (1, float("nan"))])
def test_what_can_be_no_attempt_or_no_fraction_is_an_error(attempts: int, fraction: float) -> None:
    with pytest.raises(ValueError, match=r"attempts must be|fraction must be"):
        delay_s(attempts, fraction)


def test_a_thousand_keys_that_fail_together_come_back_evenly_spread() -> None:
    fractions = [fraction_of("acme", f"user_{n}", 1) for n in range(1000)]
    assert all(0 <= f < 1 for f in fractions)
    tenths = [sum(1 for f in fractions if int(f * 10) == tenth) for tenth in range(10)]
    assert min(tenths) > 60, tenths


def test_the_jitter_of_a_key_is_the_same_in_every_process_and_another_for_each_attempt() -> None:
    assert fraction_of("acme", "user_1", 1) == 0.39114121258300827
    assert fraction_of("acme", "user_1", 2) != fraction_of("acme", "user_1", 1)
    assert fraction_of("ab", "c") != fraction_of("a", "bc")
