"""The bucket: its rate is used up, no call gets THROTTLED, and no call is kept out."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from reconciler.core.model.write import Update
from reconciler.errors import Throttled
from reconciler.shopify.api.pace import Lane, Pace, Status
from reconciler.simulator.graphql.costs import Bucket
from tests.shopify.conftest import Acme
from tests.shopify.virtual import VirtualTime

SECONDS = 60.0


class Line:
    """Calls of many threads to one simulated bucket, each with a network in between, on virtual time."""

    def __init__(self, seed: int = 0, *, rate: float = 100, size: float = 2000, empty: bool = False) -> None:
        print(f"seed {seed}")  # noqa: T201  shown where a test fails
        self._seed = seed
        self.time = VirtualTime()
        self.bucket = Bucket(self.time, size=size, restore_rate=rate)
        if empty:
            self.bucket.drain()
        self.pace = Pace(clock=self.time, signal=self.time.condition())
        self.done: Counter[str] = Counter()

    def call(self, requested: float, actual: float, there_s: float, back_s: float, lane: Lane = "scan") -> float:
        """Until it is done; gives how long it took."""
        start, turn = self.time.now, None
        while True:
            reservation = self.pace.reserve(requested, lane, turn=turn)
            turn = reservation.turn
            self.time.sleep(there_s)
            taken = self.bucket.take(requested)
            if taken:
                self.bucket.refund(requested - actual)
            seen = self.bucket.status()
            self.time.sleep(back_s)
            status = Status(seen["maximumAvailable"], seen["currentlyAvailable"], seen["restoreRate"])
            self.pace.settle(reservation, spent=actual if taken else 0, status=status, throttled=not taken)
            if taken:
                self.done[lane] += 1
                return self.time.now - start

    def call_first(self) -> None:
        """One call, so that the bucket is known."""

        def caller() -> None:
            self.call(10, 10, 0, 0)

        self.time.run(caller)

    def worker(self, number: int, make: Callable[[random.Random], tuple[float, float]], lane: Lane = "scan") -> None:
        rng = random.Random(self._seed * 100 + number)
        while self.time.now < SECONDS:
            requested, actual = make(rng)
            self.call(requested, actual, rng.uniform(0.01, 0.2), rng.uniform(0.01, 0.2), lane)


def mutations(_rng: random.Random) -> tuple[float, float]:
    return 10, 10


def mixed(rng: random.Random) -> tuple[float, float]:
    """Reads that are refunded in part beside mutations."""
    if rng.random() < 0.5:
        return 10, 10
    requested = rng.randint(2, 200)
    return requested, rng.randint(1, requested)


@pytest.mark.matrix
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("make", [mutations, mixed])
@pytest.mark.parametrize(("rate", "size", "empty"), [(100, 2000, False), (100, 1000, True), (50, 1000, False)])
def test_eight_threads_alone_use_the_whole_rate_and_are_never_throttled(
    seed: int, make: Callable[[random.Random], tuple[float, float]], rate: float, size: float, *, empty: bool
) -> None:
    line = Line(seed, rate=rate, size=size, empty=empty)
    line.time.run(*[lambda n=n: line.worker(n, make) for n in range(8)])
    assert line.bucket.throttled <= int(empty)  # only the very first call can't know that there is nothing
    given = rate * line.time.now + (0 if empty else size)
    left = line.bucket.status()["currentlyAvailable"]
    assert line.bucket.spent + left >= 0.99 * given  # nothing ran over the brim
    assert left <= 0.05 * given
    assert line.bucket.spent >= 0.95 * rate * SECONDS


@pytest.mark.parametrize("seed", [4, 5])
def test_with_a_neighbour_on_the_bucket_the_work_continues_with_few_refusals(seed: int) -> None:
    line = Line(seed)
    line.bucket.drain()
    line.bucket.neighbour(70)
    line.time.run(*[lambda n=n: line.worker(n, mutations) for n in range(8)])
    assert line.bucket.spent >= 0.9 * 30 * SECONDS
    assert line.bucket.throttled <= 0.05 * line.done["scan"]


def test_a_lowered_rate_is_followed() -> None:
    line = Line()

    def lower() -> None:
        line.time.sleep(20)
        line.bucket.restore_rate, line.bucket.size = 20, 400

    line.time.run(lower, *[lambda n=n: line.worker(n, mutations) for n in range(8)])
    assert line.bucket.throttled <= 8
    assert line.pace.restore_rate == 20
    assert line.bucket.spent >= 0.95 * (2000 + 20 * 100 + 40 * 20)


def test_a_nudge_goes_before_many_calls_of_a_scan() -> None:
    line = Line(empty=True)
    took: list[float] = []

    def nudges() -> None:
        for _ in range(20):
            line.time.sleep(2.5)
            took.append(line.call(10, 10, 0.05, 0.05, "nudge"))

    line.time.run(nudges, *[lambda n=n: line.worker(n, mutations) for n in range(8)])
    assert len(took) == 20
    assert max(took) <= 0.5
    assert line.done["scan"] >= 500


def test_endless_nudges_do_not_starve_a_scan() -> None:
    line = Line(empty=True)
    nudges = [lambda n=n: line.worker(n, mutations, "nudge") for n in range(8)]
    line.time.run(lambda: line.worker(99, mutations, "scan"), *nudges)
    assert line.done["scan"] >= 0.05 * line.done["nudge"]
    assert line.done["nudge"] >= 0.5 * SECONDS * 10


def test_first_come_first_served_within_a_lane() -> None:
    line = Line(empty=True)
    order: list[int] = []

    def caller(number: int) -> None:
        line.time.sleep(0.001 * number)
        reservation = line.pace.reserve(50, "scan")
        order.append(number)
        line.bucket.take(50)
        seen = line.bucket.status()
        line.pace.settle(reservation, spent=50, status=Status(2000, seen["currentlyAvailable"], 100), throttled=False)

    line.time.run(*[lambda n=n: caller(n) for n in range(1, 9)])
    assert order == list(range(1, 9))


def test_one_call_alone_finds_out_what_the_bucket_holds() -> None:
    line = Line(empty=True, rate=100, size=1000)
    line.bucket.refund(15)

    def caller() -> None:
        line.call(10, 10, 0.1, 0.1)

    line.time.run(*[caller] * 8)
    assert line.bucket.throttled == 0
    assert line.done["scan"] == 8


def test_waiting_has_an_end() -> None:
    line = Line()
    line.pace.settle(line.pace.reserve(10, "scan"), spent=0, status=Status(1000, 0, 0.001), throttled=True)

    def caller() -> None:
        line.pace.reserve(100, "scan")

    with pytest.raises(Throttled, match="within 120 s") as caught:
        line.time.run(caller)
    assert caught.value.retry_after_s is not None
    assert line.time.now == pytest.approx(120)


def test_a_call_with_an_unknown_end_counts_as_spent_until_a_reply_says_more() -> None:
    line = Line(size=1000)
    first = line.pace.reserve(10, "scan")
    line.pace.settle(first, spent=10, status=Status(1000, 500, 100))
    lost = line.pace.reserve(400, "scan")
    line.pace.settle(lost, spent=None, status=None)
    assert line.pace.available() == 100
    known = line.pace.reserve(10, "scan")
    line.pace.settle(known, spent=10, status=Status(1000, 490, 100))
    assert line.pace.available() == 490


def test_over_real_http_sixteen_threads_share_one_bucket_and_none_is_throttled(ready: Acme) -> None:
    sim = ready.sim
    sim.bucket.size = 100
    sim.bucket.restore_rate = 1500
    client = ready.client()
    customers = [ready.made(email=f"p{n}@example.com") for n in range(16)]
    port = ready.customers(client)

    def work(n: int) -> None:
        for turn in range(12):
            port.send(Update(customers[n], {"first_name": f"Name {turn}"}))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sim.bucket.throttled == 0
    assert sim.counts["customerSet"] == 192
    assert {ready.customer(c)["firstName"] for c in customers} == {"Name 11"}


def test_what_a_full_bucket_cannot_take_in_is_not_believed_to_be_there() -> None:
    line = Line(size=200)

    def slow() -> None:
        line.call(10, 10, 0.5, 0.1)

    def quick() -> None:
        line.time.sleep(0.05)
        line.call(10, 10, 0.01, 0.01)

    line.call_first()
    line.time.run(*[slow] * 20, *[quick] * 20)
    assert line.bucket.throttled == 0
    assert line.done["scan"] == 41


def test_a_call_that_was_throttled_is_as_old_as_it_was() -> None:
    line = Line(size=1000)
    line.call_first()
    order: list[str] = []

    def unlucky() -> None:
        reservation = line.pace.reserve(500, "scan")
        line.time.sleep(0.1)
        line.pace.settle(reservation, spent=0, status=Status(1000, 0, 100), throttled=True)
        again = line.pace.reserve(500, "scan", turn=reservation.turn)
        order.append("unlucky")
        line.pace.settle(again, spent=500, status=None)

    def later() -> None:
        line.time.sleep(0.05)
        line.pace.reserve(600, "scan")
        order.append("later")

    line.time.run(unlucky, later)
    assert order == ["unlucky", "later"]


def test_after_a_refusal_the_whole_shop_is_left_in_peace_for_a_second() -> None:
    line = Line()
    line.call_first()
    line.pace.settle(line.pace.reserve(10, "scan"), spent=0, status=Status(2000, 1000, 100), throttled=True)
    times: list[float] = []

    def caller() -> None:
        line.pace.reserve(10, "nudge")
        times.append(line.time.now)

    line.time.run(*[caller] * 3)
    assert times == [1.0] * 3
