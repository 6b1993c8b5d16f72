"""`apply` is killed at the n-th write, as the shop counts them, again and again: nobody twice, nobody lost.

Real processes, ended by SIGKILL: each is a fork of a clean one that has read the program before.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext, ForkServerProcess
from queue import SimpleQueue

import pytest

from reconciler.cli.main import run
from reconciler.simulator.faults import FaultKind
from tests.stories.village import AVATAR, TRACE, Village, at_the_nth_write, mail

PICTURE = "https://img.example.com/1.png"
ENOUGH_S = 60.0


def said_to_nobody(words: list[str]) -> None:
    """One command line in a process of its own."""
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    sys.exit(run(words))


@pytest.fixture(scope="module")
def forks() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["reconciler.cli.commands.apply", "reconciler.state.schema", "tests.stories.test_killed"]
    )
    return context


def started(village: Village, forks: ForkServerContext, *words: str) -> ForkServerProcess:
    village.write_files()
    process = forks.Process(target=said_to_nobody, args=([*village.files, *words],))
    process.start()
    return process


def ended(process: ForkServerProcess) -> int:
    process.join(ENOUGH_S)
    assert process.exitcode is not None
    return process.exitcode


def killed_at(village: Village, forks: ForkServerContext, n: int, kind: FaultKind) -> bool:
    """One apply that is killed when the shop gets the n-th write, before the work or after it; False: it got to the end."""
    pid: SimpleQueue[int] = SimpleQueue()

    at_the_nth_write(village, n, kind, lambda: os.kill(pid.get(timeout=ENOUGH_S), signal.SIGKILL))
    process = started(village, forks, "apply", "--yes")
    assert process.pid is not None
    pid.put(process.pid)
    code = ended(process)
    village.shop().faults.clear()
    assert code in {0, -signal.SIGKILL}
    return code != 0


@pytest.fixture
def everything_due(village: Village) -> Village:
    """A create, an adoption, updates with tags and metafields, a re-link to a guest, and a release."""
    village.store.update({"metafields": {AVATAR: {"from": "image_url", "type": "url"}}, "on_leave": "tag"})
    for name in ("bob", "cleo", "eve"):
        village.user(name, image_url=PICTURE)
    village.apply()
    village.store["tags"] = ["app-user", "late"]
    village.user("ada", image_url=PICTURE)
    village.staff("guest_checkout", email=mail("dora"))
    village.user("dora", image_url=PICTURE)
    village.staff("guest_checkout", email=mail("robert"))
    village.user("bob", email=mail("robert"))
    village.user("cleo", first_name="Cleopatra", image_url=None)
    village.gone("eve")
    return village


def all_is_as_it_should_be(village: Village, first: Mapping[str, str]) -> None:
    assert len(village.everybody()) == 6
    for name in ("ada", "bob", "cleo", "dora"):
        assert village.theirs(name).tags == ("app-user", "late")
    assert village.theirs("cleo").first_name == "Cleopatra"
    assert village.theirs("bob").email == mail("robert")
    assert village.theirs("bob").id != first["bob"]
    old = village.everybody()[first["bob"]]
    assert (old.backlink, old.tags, old.metafields[TRACE]) == (None, (), village.theirs("bob").id)
    assert village.theirs("eve").tags == ("app-user", "clerk-left")
    assert village.mappings()["eve"]["status"] == "released"
    village.settles()


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        ("lost_after", (1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6)),
        ("lost_before", (2, 2, 3, 3, 4, 4, 5, 5, 6, 6)),
        ("lost_after", (8, 5)),
        ("lost_before", (11, 3)),
    ],
)
def test_killed_again_and_again_everybody_ends_with_one_customer(
    everything_due: Village, forks: ForkServerContext, kind: FaultKind, steps: tuple[int, ...]
) -> None:
    village = everything_due
    first = {name: village.theirs(name).id for name in ("bob", "cleo", "eve")}
    deaths = 0
    for n in steps:
        if not killed_at(village, forks, n, kind):
            break
        deaths += 1
    assert deaths
    village.apply()
    all_is_as_it_should_be(village, first)


def test_two_controllers_with_states_of_their_own_make_one_customer(village: Village, forks: ForkServerContext) -> None:
    village.staff("guest_checkout", email=mail("guest"))
    for name in ("ada", "bob", "guest"):
        village.user(name)
    village.shop().latency_s = 0.1  # both look before either writes
    one = started(village, forks, "apply", "--yes")
    village.settings["state"] = {"url": f"sqlite:///{village.folder / 'other.db'}"}
    other = started(village, forks, "apply", "--yes")
    assert {ended(one), ended(other)} <= {0, 1}  # whoever comes second may be refused by name: the world has moved
    village.shop().latency_s = 0.0
    village.apply()
    assert {c.backlink for c in village.everybody().values()} == {"user_ada", "user_bob", "user_guest"}
    assert len(village.everybody()) == 3
    village.settles()
    village.settings["state"] = {"url": f"sqlite:///{village.folder / 'state.db'}"}
    village.apply()
    village.settles()


def test_what_a_killed_process_had_written_is_ours_although_nobody_wrote_that_down(
    village: Village, forks: ForkServerContext
) -> None:
    """Else what the profile gives up would stay in the shop for ever, and so would tags of an older configuration."""
    village.store.update({"metafields": {AVATAR: {"from": "image_url", "type": "url"}}, "tags": ["first"]})
    village.store["fields"] = {**village.store.get("fields", {}), "phone": "enforce"}
    village.user("ada")
    village.apply()
    changes: tuple[dict[str, str], ...] = ({"phone": "+12122000001"}, {"image_url": PICTURE}, {})
    for change in changes:
        village.user("ada", **change)
        village.store["tags"] = ["second"] if not change else ["first"]
        assert killed_at(village, forks, 1, "lost_after")
    village.user("ada", phone=None, image_url=None)
    village.store["tags"] = ["third"]
    village.apply()
    ada = village.theirs("ada")
    assert (ada.phone, ada.tags, AVATAR in ada.metafields) == (None, ("third",), False)
    village.settles()


def test_a_customer_that_a_killed_process_made_is_released_when_the_user_is_gone_by_then(
    village: Village, forks: ForkServerContext
) -> None:
    village.store["on_leave"] = "delete"
    village.user("ada")
    village.user("bob")
    assert killed_at(village, forks, 1, "lost_after")
    assert len(village.everybody()) >= 1
    village.gone("ada")
    village.gone("bob")
    village.user("cleo")  # an empty table releases no one
    village.apply()
    assert {customer.backlink for customer in village.everybody().values()} == {"user_cleo"}
    village.settles()
