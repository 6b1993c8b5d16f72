"""Plans by bulk operations end as plans one by one do, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controller.bulk_rig import (
    NAME,
    BulkRig,
    at_rest,
    customers,
    outcomes,
    populate,
    rows,
    told,
    user_of,
)

PEOPLE = 30


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[BulkRig]:
    with BulkRig(tmp_path) as made:
        populate(made, PEOPLE)
        yield made


def test_new_users_go_by_bulk_and_cost_next_to_nothing(rig: BulkRig) -> None:
    planned = rig.plan()
    before = rig.acme.bucket.spent
    found = rig.apply(planned)
    assert outcomes(found) == {user_of(n): ("create", "applied") for n in range(PEOPLE)}
    assert rig.acme.counts.get("customerSet", 0) == 0
    assert rig.acme.counts["bulkOperationRunMutation"] == 4
    assert rig.acme.bucket.spent - before < 4 * 60
    at_rest(rig)
    assert rig.files.tokens_leaked == 0
