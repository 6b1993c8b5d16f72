"""The plan: the same for the same seed, every kind in it, and every kind can be done."""

from __future__ import annotations

from itertools import pairwise

from tests.chaos.faults import FAULTS
from tests.chaos.plan import LANES, faults


def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert faults(7, 600) == faults(7, 600)
    assert faults(7, 600) != faults(8, 600)


def test_ten_minutes_hold_every_kind_of_fault_and_each_ends_in_time() -> None:
    for seed in range(5):
        found = faults(seed, 600)
        assert {fault.kind for fault in found} == {kind for lane in LANES.values() for kind in lane}
        assert all(fault.at + fault.seconds <= 600 for fault in found)


def test_in_a_lane_one_fault_ends_before_the_next_begins() -> None:
    for lane in LANES:
        some = [fault for fault in faults(3, 600) if fault.lane == lane]
        assert all(one.at + one.seconds <= next_.at for one, next_ in pairwise(some))


def test_every_kind_in_the_plan_can_be_done() -> None:
    assert FAULTS.keys() == {kind for lane in LANES.values() for kind in lane}
