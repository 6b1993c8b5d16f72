"""A user signs up and is mapped by `run` while another process plans: no read of a plan takes that for a user who left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.controller.observe import ObserveOptions
from reconciler.controller.scan.plan import scan_store
from reconciler.core.model.ids import ClerkUserId
from reconciler.supabase.reading.chunks import Chunk
from reconciler.supabase.reading.profiles import TableProfiles
from tests.controller.bulk_rig import NAME, user_of
from tests.controller.mirror_rig import COLUMNS, MirrorRig

PEOPLE = 12
NEW = ClerkUserId(user_of(0))


class Moved(TableProfiles):
    """The profiles; `then` happens once, right after the first read of them has been answered."""

    then: Callable[[], None] | None = None

    def _happen(self) -> None:
        if self.then is not None:
            then, self.then = self.then, None
            then()

    def scan_rows(self, *, chunk: int = 4000, after: ClerkUserId | None = None) -> Iterator[Chunk]:
        yield from super().scan_rows(chunk=chunk, after=after)
        self._happen()

    def rows_of(self, users: Collection[ClerkUserId]) -> Chunk:
        found = super().rows_of(users)
        self._happen()
        return found


@pytest.mark.matrix
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("users", [None, [NEW]])
def test_a_user_who_is_mapped_between_two_reads_is_released_by_no_plan(
    tmp_path: Path, users: list[ClerkUserId] | None, *, fast: bool
) -> None:
    with MirrorRig(tmp_path) as rig:
        rig.settle(PEOPLE)
        store = rig.stores[NAME]
        mapping = rig.mapping(NAME, NEW)
        assert mapping is not None
        row = rig.profiles.rows.pop(NEW)
        rig.state.forget(store.shop, NEW)
        rig.pour()

        def sign_up() -> None:
            rig.profiles.rows[NEW] = row
            rig.pour()
            rig.state.put(mapping)

        with closing(Moved(f"sqlite:///{rig.path}", "customers", {c: c for c in COLUMNS})) as profiles:
            profiles.then = sign_up
            readers = replace(rig.readers_of(fast=fast), profiles=profiles)
            found = scan_store(store, readers, ObserveOptions(now=rig.clock.now(), users=users))
        assert profiles.then is None, "the sign-up fell between two reads"
        assert found.plan.error is None
        assert {action.kind for action in found.plan.actions} <= {"create", "update"}
        assert found.plan.holds == ()
