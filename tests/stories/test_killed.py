"""`apply` is killed at the n-th write, as the shop counts them, again and again: no one twice, no one lost.

Real processes, ended by SIGKILL: each is a fork of a clean one that has read the program before.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue
from subprocess import TimeoutExpired
from threading import Event

import pytest

from reconciler.simulator.faults import FaultKind
from tests import servers
from tests.forks import Fork, fork_command
from tests.stories.harness import AVATAR, TRACE, StoryHarness, at_the_nth_write, mail

PICTURE = "https://img.example.com/1.png"
ENOUGH_S = 60.0


def started(story: StoryHarness, *words: str) -> Fork:
    story.write_files()
    return fork_command([*story.files, *words])


def ended(process: Fork) -> int:
    with process.err:
        process.err.read()
    return process.wait(ENOUGH_S)


def killed_at(story: StoryHarness, n: int, kind: FaultKind) -> bool:
    """One apply that is killed when the shop gets the n-th write, before the work or after it; False: it got to the end."""
    pid: SimpleQueue[int] = SimpleQueue()

    at_the_nth_write(story, n, kind, lambda: os.kill(pid.get(timeout=ENOUGH_S), signal.SIGKILL))
    process = started(story, "apply", "--yes")
    pid.put(process.pid)
    code = ended(process)
    story.shop().faults.clear()
    assert code in {0, -signal.SIGKILL}
    return code != 0


@pytest.fixture
def everything_due(story: StoryHarness) -> StoryHarness:
    """A create, an adoption, updates with tags and metafields, a re-link to a guest, and a release."""
    story.store.update({"metafields": {AVATAR: {"from": "image_url", "type": "url"}}, "on_leave": "tag"})
    for name in ("bob", "cleo", "eve"):
        story.user(name, image_url=PICTURE)
    story.apply()
    story.store["tags"] = ["app-user", "late"]
    story.user("ada", image_url=PICTURE)
    story.staff("guest_checkout", email=mail("dora"))
    story.user("dora", image_url=PICTURE)
    story.staff("guest_checkout", email=mail("robert"))
    story.user("bob", email=mail("robert"))
    story.user("cleo", first_name="Cleopatra", image_url=None)
    story.gone("eve")
    return story


def all_is_as_it_should_be(story: StoryHarness, first: Mapping[str, str]) -> None:
    assert len(story.everybody()) == 6
    for name in ("ada", "bob", "cleo", "dora"):
        assert story.theirs(name).tags == ("app-user", "late")
    assert story.theirs("cleo").first_name == "Cleopatra"
    assert story.theirs("bob").email == mail("robert")
    assert story.theirs("bob").id != first["bob"]
    old = story.everybody()[first["bob"]]
    assert (old.backlink, old.tags, old.metafields[TRACE]) == (None, (), story.theirs("bob").id)
    assert story.theirs("eve").tags == ("app-user", "clerk-left")
    assert story.mappings()["eve"]["status"] == "released"
    story.settles()


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        ("lost_after", (1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6)),
        ("lost_before", (2, 2, 3, 3, 4, 4, 5, 5, 6, 6)),
        ("lost_after", (8, 5)),
        ("lost_before", (11, 3)),
    ],
)
@pytest.mark.slow
def test_killed_again_and_again_everybody_ends_with_one_customer(
    everything_due: StoryHarness, kind: FaultKind, steps: tuple[int, ...]
) -> None:
    story = everything_due
    first = {name: story.theirs(name).id for name in ("bob", "cleo", "eve")}
    deaths = 0
    for n in steps:
        if not killed_at(story, n, kind):
            break
        deaths += 1
    assert deaths
    story.apply()
    all_is_as_it_should_be(story, first)


@pytest.mark.slow
def test_two_controllers_with_states_of_their_own_make_one_customer(story: StoryHarness) -> None:
    story.staff("guest_checkout", email=mail("guest"))
    for name in ("ada", "bob", "guest"):
        story.user(name)
    story.shop().latency_s = 0.1  # both look before either writes
    one = started(story, "apply", "--yes")
    story.settings["state"] = {"url": f"sqlite:///{story.folder / 'other.db'}"}
    other = started(story, "apply", "--yes")
    assert {ended(one), ended(other)} <= {0, 1}  # the second one may be refused by name: the shop has changed
    story.shop().latency_s = 0.0
    story.apply()
    assert {c.backlink for c in story.everybody().values()} == {"user_ada", "user_bob", "user_guest"}
    assert len(story.everybody()) == 3
    story.settles()
    story.settings["state"] = {"url": f"sqlite:///{story.folder / 'state.db'}"}
    story.apply()
    story.settles()


@pytest.mark.slow
def test_what_a_killed_process_had_written_is_ours_although_it_was_not_recorded(story: StoryHarness) -> None:
    """Else what the profile gives up would stay in the shop for ever, and so would tags of an older configuration."""
    story.store.update({"metafields": {AVATAR: {"from": "image_url", "type": "url"}}, "tags": ["first"]})
    story.store["fields"] = {**story.store.get("fields", {}), "phone": "enforce"}
    story.user("ada")
    story.apply()
    changes: tuple[dict[str, str], ...] = ({"phone": "+12122000001"}, {"image_url": PICTURE}, {})
    for change in changes:
        story.user("ada", **change)
        story.store["tags"] = ["second"] if not change else ["first"]
        assert killed_at(story, 1, "lost_after")
    story.user("ada", phone=None, image_url=None)
    story.store["tags"] = ["third"]
    story.apply()
    ada = story.theirs("ada")
    assert (ada.phone, ada.tags, AVATAR in ada.metafields) == (None, ("third",), False)
    story.settles()


def test_a_customer_that_a_killed_process_made_is_released_when_the_user_is_gone_by_then(story: StoryHarness) -> None:
    story.store["on_leave"] = "delete"
    story.user("ada")
    story.user("bob")
    assert killed_at(story, 1, "lost_after")
    assert len(story.everybody()) >= 1
    story.gone("ada")
    story.gone("bob")
    story.user("cleo")  # an empty table releases no one
    story.apply()
    assert {customer.backlink for customer in story.everybody().values()} == {"user_cleo"}
    story.settles()


@contextmanager
def in_the_middle(story: StoryHarness, postgres: servers.Server, database: str) -> Iterator[Fork]:
    """An apply of 20 actions, with its state on Postgres, which is away within: since the eighth write to the shop."""
    story.settings["state"] = {"url": postgres.url(database)}
    for n in range(20):
        story.user(f"user{n}")
    away, reached = Event(), Event()

    def wait_for_the_outage() -> None:
        reached.set()
        assert away.wait(ENOUGH_S)

    at_the_nth_write(story, 8, "slow", wait_for_the_outage)
    process = started(story, "apply", "--yes")
    assert reached.wait(ENOUGH_S)
    with postgres.away():
        away.set()
        yield process


@pytest.mark.slow
def test_an_apply_waits_for_a_postgres_that_restarts(
    story: StoryHarness, postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    with in_the_middle(story, postgres, postgres_database(migrated=True)) as process, pytest.raises(TimeoutExpired):
        process.wait(1.5)  # it still waits
    with process.err:
        said = str(process.err.read())
    assert process.wait(ENOUGH_S) == 0, said
    assert len(story.everybody()) == 20
    story.shop().faults.clear()
    assert story.actions() == {}
    story.settles()


@pytest.mark.slow
def test_an_apply_that_loses_the_state_says_how_far_it_came_and_what_is_next(
    story: StoryHarness, postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    with in_the_middle(story, postgres, postgres_database(migrated=True)) as process, process.err:
        said = str(process.err.read())
    assert process.wait(ENOUGH_S) == 1
    assert re.search(r"it ended after \d+ of 20 actions", said)
    assert "plan and apply again: what is done stays" in said
    story.shop().faults.clear()
    story.apply()
    story.settles()
    assert len(story.everybody()) == 20
