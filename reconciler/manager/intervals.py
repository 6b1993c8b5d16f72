"""How often, and for how long: all pauses of one replica in one place, so that a rehearsal may hurry them together."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.controller.worker import Pauses


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds. What is here is no setting: the defaults fit together, and are what is run."""

    lease_s: float = 30.0  # a killed or frozen replica's requests are taken over after so long
    poll_s: float = 0.1  # how soon a nudge that another process wrote down is taken, while there is work
    idle_poll_s: float = 0.5  # the same while there is none
    away_s: float = 2.0  # our own database can't be reached: the next try
    grace_s: float = 12.0  # how long work in hand may take to end on SIGTERM; deadline.py ends the process after 18
    step_s: float = 2.0  # how long each further step of the end may take
    slow_s: float = 5.0  # a store whose looks take longer gets one worker until one does not
    webhook_wait_s: float = 1.5  # while another process holds the SQLite file; then 503, with the reason
    beat_s: float = 2.0
    stale_beats_s: float = 15.0  # without a beat of a thread that must go on: not ready
    wedged_s: float = 120.0  # a look that takes longer holds its worker for good: not ready
    stuck_s: float = 60.0  # something has been due for so long, and nothing was finished meanwhile: not ready
    look_lease_s: float = 60.0  # a look at a whole store whose replica was killed may be gone on with after so long
    again_first_s: float = 30.0  # a full look that failed is taken again, later and later
    again_last_s: float = 900.0
    probe_every_s: float = 5.0
    probe_first_s: float = 10.0  # a store that is suspended is probed, later and later
    probe_last_s: float = 3600.0
    housekeeping_s: float = 3600.0
    files_s: float = 2.0  # how often the files are looked at; a change is taken when two looks saw the same
    removal_settles_s: float = 10.0  # a change that takes something away must not have moved for so long
    replica_s: float = 60.0  # how often a replica says that it is there
    hints_s: float = 1.0  # how soon a change that the outbox tells of is taken up
    rows_s: float = 0.5  # how soon a profile row is written that could not be written when its webhook came
    row_wait_s: float = 1.0  # so long a webhook waits for its profile row; then it is written later
    pauses: Pauses = field(default_factory=Pauses)
