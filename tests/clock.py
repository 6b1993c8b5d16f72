"""The wall clock, for tests and benchmarks with processes and databases that live in real time."""

from datetime import UTC, datetime


class WallClock:
    """ports.Clock, without all the components that wiring builds."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251  the tests' one clock
