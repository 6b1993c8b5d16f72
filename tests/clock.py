"""The wall clock, for tests and benchmarks whose processes and databases live in real time."""

from datetime import UTC, datetime


class WallClock:
    """ports.Clock, without the whole house that wiring brings along."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251  the tests' one clock
