"""A soak of a few seconds: every lane of faults, three hurried replicas, the same checks as in ten minutes.

How many changes and faults there are is fixed, and the verdict waits for conditions: a busy machine makes it longer, and
nothing else.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.report import table
from tests.chaos.soak import SHORT, Soak

SEED = 4


@pytest.mark.explore
@pytest.mark.timeout(1500)
def test_nothing_is_lost_doubled_taken_over_or_wrong_after_seconds_of_every_kind_of_fault(tmp_path: Path) -> None:
    outcome = Soak(SEED, SHORT, tmp_path).run()
    assert outcome.passed, table(outcome)
