"""Before a shop has confirmed the time, a controller ends and deletes nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from reconciler.core.model.act import Actor
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.core.report.parity import ParitySample
from reconciler.manager.app import Manager, SettingsFiles
from reconciler.manager.schedule.acceptances import EndedAcceptances
from reconciler.settings import load
from reconciler.wiring import open_components
from reconciler.wiring.clock import CheckedClock
from tests.clock import WallClock
from tests.manager.harness import US, run_harness

USER, SHOP = ClerkUserId("user_a"), ShopDomain(f"{US}.myshopify.com")
LONG = timedelta(days=400)


class Wrong(WallClock):
    """The wall clock of a machine, wrong by so much."""

    wrong = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.wrong


@pytest.mark.parametrize("is_ahead", [True, False])
def test_what_is_over_by_the_machines_clock_is_over_once_a_shop_says_so(tmp_path: Path, *, is_ahead: bool) -> None:
    """The machine's clock is ahead; or it is right, and a year has passed."""
    with run_harness(tmp_path) as harness:
        harness.write()
        files = SettingsFiles(harness.paths, lambda: load(*harness.paths, {}))
        wall = Wrong()
        clock = CheckedClock(wall, warn=lambda _message: None)
        with open_components(files.read(), warn=lambda _message: None, clock=clock) as components:
            state = components.state
            wall.wrong = timedelta(0) if is_ahead else -LONG
            state.mappings.put(Mapping(clerk_user_id=USER, store=StoreName(US), shop=SHOP))
            until = wall.now() + timedelta(days=30)
            components.acts(Actor("ada", "command")).accept(components.stores()[0], USER, ["note"], until=until)
            wall.wrong += LONG
            samples = [ParitySample(SHOP, wall.now() - timedelta(days=day), 1, 1, 0, 0, 1.0) for day in (0, 2, 4)]
            state.parity.note_parity(samples)
            manager = Manager(components, files, port=0)
            ended = EndedAcceptances(manager.running, components.state_clock, lambda: None)

            def turn() -> tuple[bool, int]:
                """Whether the acceptance is there, and how many acts, of which there was one."""
                ended.end()
                manager.schedule.housekeeping()
                return state.mappings.get(SHOP, [USER])[USER].accepted is not None, len(state.acts.acts(limit=9))

            try:
                assert turn() == (True, 1)
                components.identify(StoreName(US))  # a first reply
                assert turn() == ((True, 1) if is_ahead else (False, 0))
                wall.wrong += LONG
                assert turn() == ((True, 1) if is_ahead else (False, 0)), "a jump changes nothing"
            finally:
                manager.running.close()
                manager.http_server.stop()
