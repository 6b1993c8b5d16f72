"""How large a run is, and how fast its clocks go: from the minutes of the test suite to weeks."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.manager.intervals import Intervals

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often the product looks by itself, and how long faults take, as a multiple of what is usual."""

    resync_s: float
    full_s: float
    grace_s: float
    """`controller.absence_grace_s`."""
    settles_s: float
    """After so long without faults all is as it should be."""
    intervals: Intervals
    hooks_s: float
    """How often the shops tell what has changed."""
    tidy_s: float
    soak_s: float
    """`rollout.soak_s`."""
    files_s: float
    """How often replicas read the files, and follow a rollout."""
    faults: float = 1.0
    jumps_s: tuple[float, ...] = (-3600, -120, -20, 20, 120, 3600)
    """By how much a clock is moved."""


QUICK = Rhythm(
    resync_s=300.0, full_s=HOUR_S, grace_s=600.0, settles_s=5 * HOUR_S, hooks_s=1.0, tidy_s=HOUR_S,
    soak_s=300.0, files_s=15.0,
    intervals=Intervals(poll_s=5.0, idle_poll_s=60.0, probe_every_s=30.0, probe_last_s=600.0),
)  # fmt: skip
SLOW = Rhythm(
    resync_s=2 * HOUR_S, full_s=DAY_S, grace_s=6 * HOUR_S, settles_s=30 * HOUR_S, hooks_s=120.0, tidy_s=6 * HOUR_S,
    soak_s=4 * HOUR_S, files_s=900.0,
    faults=36.0,
    jumps_s=(-2 * DAY_S, -6 * HOUR_S, -600, 600, 6 * HOUR_S, 2 * DAY_S),
    intervals=Intervals(
        poll_s=60.0, idle_poll_s=1800.0, lease_s=300.0, away_s=120.0, scan_lease_s=600.0, again_first_s=120.0,
        again_last_s=HOUR_S, probe_every_s=600.0, probe_first_s=600.0, acceptances_s=1800.0, parity_s=HOUR_S,
    ),
)  # fmt: skip
"""Everything is rarer and takes longer, so that weeks are no more turns than hours by the other."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many people, and how often something changes or goes wrong, for how long; then the time without either."""

    people: int
    storm_s: float
    step_s: float
    gap_s: float
    quiet_s: float
    rhythm: Rhythm = QUICK


NORMAL = Size(people=12, storm_s=1.5 * HOUR_S, step_s=45.0, gap_s=240.0, quiet_s=1.5 * HOUR_S)
SHORT = Size(people=6, storm_s=0.4 * HOUR_S, step_s=40.0, gap_s=120.0, quiet_s=1.1 * HOUR_S)
LONG = Size(people=8, storm_s=40 * DAY_S, step_s=4 * HOUR_S, gap_s=10 * HOUR_S, quiet_s=2 * DAY_S, rhythm=SLOW)
