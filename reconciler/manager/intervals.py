"""All pauses and limits of one replica in one place, so that a rehearsal can shorten them together."""

from __future__ import annotations

from dataclasses import field

from reconciler.controller.worker import Pauses
from reconciler.core.model.frozen import frozen


@frozen
class Intervals:
    """Values in seconds. These are no settings: the defaults fit together and are used in production."""

    lease_s: float = 30.0  # after so long, requests of a killed or frozen replica are taken over
    poll_s: float = 0.1  # how soon a nudge of another process is claimed, while there is work
    idle_poll_s: float = 0.5  # the same while there is none
    away_s: float = 2.0  # pause while our own database can't be reached
    clerk_away_s: float = 30.0  # how long Clerk's API is not asked after a call that failed
    grace_s: float = 12.0  # limit for work in progress on SIGTERM; shutdown.py ends the process after 18
    step_s: float = 2.0  # limit for each further step of the shutdown
    slow_s: float = 5.0  # a store with longer reconciles gets one worker until one is shorter
    webhook_wait_s: float = 1.5  # while another process holds the SQLite file; then 503, with the reason
    beat_s: float = 2.0
    stale_beats_s: float = 15.0  # a thread without a beat for so long: not ready
    wedged_s: float = 120.0  # a reconcile that takes longer blocks its worker: not ready
    stuck_s: float = 60.0  # a request due for so long while none was finished: not ready
    scan_lease_s: float = 60.0  # after so long, the scan of a killed replica is resumed
    again_first_s: float = 30.0  # first pause after a failed full resync; it doubles
    again_last_s: float = 900.0
    probe_every_s: float = 5.0
    probe_first_s: float = 10.0  # first pause before a suspended store is probed; it doubles
    probe_last_s: float = 3600.0
    housekeeping_s: float = 3600.0
    files_s: float = (
        2.0  # how often files and pauses are read; a change of a file is applied when two reads saw the same
    )
    acceptances_s: float = 30.0  # how often it is checked whether accepted drift is over
    removal_settles_s: float = 10.0  # a change that removes something must stay unchanged for so long
    replica_s: float = 60.0  # how often a replica records that it runs
    other_files_s: float = 60.0  # a start begins no rollout until no replica has used other files for so long
    parity_s: float = 300.0  # how often the parity of each store is recorded
    notify_s: float = 60.0  # how often it is checked whether something needs a person
    outbox_s: float = 1.0  # how often the outbox is read
    rows_s: float = 0.5  # pause before a postponed profile row is written
    row_wait_s: float = 1.0  # how long a webhook waits for its profile row, which is written later otherwise
    pauses: Pauses = field(default_factory=Pauses)
