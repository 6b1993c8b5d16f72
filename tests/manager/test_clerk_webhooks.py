"""Clerk's webhooks into a running controller: whatever becomes of them on the way, the end is the same."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.clerk import sender
from tests.clerk.backend import KEY, Backend, serving
from tests.clock import WallClock
from tests.manager.harness import TABLE, US, RunHarness, Running, deleted_event, until, user_event

PEOPLE = [f"user_{n:02}" for n in range(14)]


def live(harness: RunHarness, chance: random.Random) -> list[tuple[str, dict[str, Any]]]:
    """Sign-ups, changes and departures; gives the events that Clerk would send, in order."""
    events: list[tuple[str, dict[str, Any]]] = []
    for user in PEOPLE:
        at = WallClock().now()  # an event is never later than the row that it tells of
        harness.person(user, first_name="First")
        events.append(("user.created", user_event(user, updated_at=at)))
    for user in chance.sample(PEOPLE, 8):
        at = WallClock().now()
        harness.person(user, first_name=chance.choice(["Ada", "Bob", "Cleo"]), email=f"{user}@new.example.com")
        events.append(("user.updated", user_event(user, updated_at=at)))
    for user in PEOPLE[:3]:
        harness.gone(user)
        events.append(("user.deleted", dict(deleted_event(user))))
    return events


def is_right(harness: RunHarness, run: Running) -> bool:
    """Every user that is there is in sync, every one that is not has no customer that is managed."""
    return (
        run.idle()
        and run.statuses(PEOPLE[3:]) == {"in_sync"}
        and not any(run.status(user) in {"in_sync", "pending"} for user in PEOPLE[:3])
    )


def test_with_all_webhooks_dropped_the_end_is_the_same_only_later(harness: RunHarness) -> None:
    harness.settings["controller"]["resync_s"] = 0.2
    with harness.replica() as run:
        run.scanned_all()
        live(harness, random.Random(1))
        until(lambda: is_right(harness, run), "scans found everything")


@pytest.mark.parametrize("seed", [20261125, 7])
def test_doubled_lost_shuffled_and_late_webhooks_lead_to_the_same_end(harness: RunHarness, seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201  shown where it fails
    chance = random.Random(seed)
    with harness.replica() as run:
        run.scanned_all()
        events = live(harness, chance)
        late = WallClock().now() - timedelta(days=3)
        sent = [event for event in events for _ in range(chance.randint(0, 5))]
        sent += [
            ("user.updated", user_event(user, updated_at=late)) for user in PEOPLE
        ]  # each at least once, days late
        sent += [("user.created", user_event("user_never_there", updated_at=late))]
        sent += [("user.deleted", dict(deleted_event("user_never_there")))]
        chance.shuffle(sent)
        for kind, data in sent:
            run.accepted(kind, data)
        until(lambda: is_right(harness, run), "the end is as it should be")
        assert run.mapping("user_never_there") is None
        expected = harness.end_state()
    links = [c for c in harness.customers().values() if "app-user" in c["tags"]]
    assert len({c["email"] for c in links}) == len(expected)
    before = harness.mutations()
    with harness.replica() as run:
        run.scanned_all()
    assert (harness.mutations(), harness.end_state()) == (before, expected)


def test_the_very_same_delivery_is_taken_once(harness: RunHarness) -> None:
    with harness.replica() as run:
        run.scanned_all()
        harness.person("user_a")
        for _ in range(3):
            run.accepted("user.created", user_event("user_a"), message_id="msg_same")
        until(lambda: run.status("user_a") == "in_sync", "the customer is there")
        run.settled()
        assert run.metric("reconciler_webhooks_total", result="duplicate") == 2


@pytest.mark.parametrize("upserts", [False, True])
def test_while_another_process_holds_the_file_webhooks_are_refused_and_none_is_lost(
    harness: RunHarness,
    upserts: bool,  # noqa: FBT001  a parameter
) -> None:
    """The lock is held until the answers are there: who waited for it would wait for ever."""
    harness.settings["clerk"]["upsert_profiles"] = upserts
    harness.settings["profiles"]["url"] = harness.state_url
    with closing(sqlite3.connect(harness.folder / "state.db", isolation_level=None)) as other:
        other.execute(TABLE)
        with harness.replica(webhook_wait_s=0.2) as run:
            run.scanned_all()
            other.execute("BEGIN IMMEDIATE")
            body = sender.event("user.created", user_event("user_a"))
            signed = sender.headers(body, message_id="msg_once", at=WallClock().now())
            answer = run.client.post("/webhooks/clerk", content=body, headers=signed)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "locked" in answer.json()["error"]
            customer = {"id": 7, "admin_graphql_api_id": "gid://shopify/Customer/7"}
            assert run.shopify("customers/update", customer).status_code == 503
            assert run.client.get("/healthz").status_code == 200
            other.execute("ROLLBACK")
            assert run.waiting() == set()
            post = partial(run.client.post, "/webhooks/clerk", content=body, headers=signed)
            until(lambda: post().is_success, "the same webhook is accepted")
            run.shopify_accepted("customers/update", customer)
            if upserts:
                until(lambda: run.status("user_a") == "in_sync", "the row was written, and the customer was made")
            run.settled()


def test_a_webhook_that_is_faster_than_the_row_is_reconciled_again_shortly(harness: RunHarness) -> None:
    harness.person("user_old", first_name="Old")
    with harness.replica() as run:
        run.scanned_all()
        run.accepted("user.created", user_event("user_soon"))
        ahead = WallClock().now() + timedelta(seconds=30)
        run.accepted("user.updated", user_event("user_old", updated_at=ahead))
        early = lambda: run.metric("controller_runtime_reconcile_total", result="requeue_after") >= 3  # noqa: E731
        until(early, "the reconciles are repeated")
        assert run.status("user_soon") is None
        harness.person("user_soon")
        harness.person("user_old", first_name="New", updated_at=ahead.isoformat())
        until(lambda: run.status("user_soon") == "in_sync", "the customer is there")
        until(lambda: harness.customers()["user_old@example.com"]["firstName"] == "New", "the change is there")
        until(lambda: run.components.queue.depth() == 0, "nothing is waited for any more")


def test_an_older_row_is_acted_on_while_the_newer_is_awaited(harness: RunHarness) -> None:
    harness.person("user_a", first_name="Right")
    with harness.replica() as run:
        run.scanned_all()
        customer = harness.customers()["user_a@example.com"]
        harness.shop().staff("edit", id=customer["id"], first_name="Wrong")
        ahead = WallClock().now() + timedelta(seconds=30)
        run.accepted("user.updated", user_event("user_a", updated_at=ahead))
        until(lambda: harness.customers()["user_a@example.com"]["firstName"] == "Right", "the drift is healed")


def test_a_deletion_is_believed_when_the_row_is_gone_or_marked_or_clerk_says_so(harness: RunHarness) -> None:
    harness.stores[US]["on_leave"] = "tag"
    others = ("user_other", "user_another", "user_third")
    backend = Backend(users=[user_event(user) for user in ("user_there", *others)])
    with serving(backend) as url:
        harness.settings["clerk"] |= {"secret_key": KEY, "api_url": url}
        for user in ("user_row", "user_marked", "user_clerk", "user_there", *others):
            harness.person(user)
        with harness.replica() as run:
            run.scanned_all()
            for user in ("user_there", "user_clerk"):  # their rows stay
                backend.troubles = [(503, {})]  # Clerk can't be asked at first
                run.accepted("user.deleted", deleted_event(user))
                run.settled()
                assert run.status(user) == "in_sync"
                run.nudge(user)  # somebody else asks meanwhile: what the deletion asked for is not forgotten
                run.settled()
            until(lambda: run.status("user_clerk") == "released", "Clerk's 404 counts")
            harness.gone("user_row")
            harness.person("user_marked", deleted_at=WallClock().now().isoformat())
            for user in ("user_row", "user_marked"):
                run.accepted("user.deleted", deleted_event(user))
                until(lambda u=user: run.status(u) == "released", f"{user} is released")  # type: ignore[misc]
            until(lambda: run.components.queue.depth() == 0, "all is done")
            assert run.status("user_there") == "in_sync"
    assert [e for e, c in sorted(harness.customers().items()) if "clerk-left" in c["tags"]] == [
        "user_clerk@example.com", "user_marked@example.com", "user_row@example.com",
    ]  # fmt: skip


def test_without_a_key_a_deletion_with_its_row_still_there_is_only_a_nudge(harness: RunHarness) -> None:
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        run.accepted("user.deleted", deleted_event("user_a"))
        until(lambda: run.components.queue.depth() == 0, "it was reconciled")
        assert run.status("user_a") == "in_sync"


def test_with_upsert_profiles_the_webhook_writes_the_row_first_and_no_late_one_turns_it_back(
    harness: RunHarness,
) -> None:
    harness.settings["clerk"]["upsert_profiles"] = True
    address = {"id": "idn_1", "email_address": "ada@example.com", "verification": {"status": "verified"}}
    about: dict[str, Any] = {"email_addresses": [address], "primary_email_address_id": "idn_1"}
    at = WallClock().now()
    with harness.replica() as run:
        run.scanned_all()
        newest = user_event("user_ada", first_name="Ada", updated_at=at, **about)
        older = user_event("user_ada", first_name="Stale", updated_at=at - timedelta(days=2), **about)
        run.accepted("user.updated", newest)
        until(lambda: run.status("user_ada") == "in_sync", "the customer is there")
        run.accepted("user.created", older)
        run.settled()
        assert harness.customers()["ada@example.com"]["firstName"] == "Ada"
        run.accepted("user.deleted", deleted_event("user_ada"))
        until(lambda: run.status("user_ada") == "released", "the user has left")
        run.accepted("user.updated", older)
        run.accepted("user.updated", newest)
        until(lambda: run.components.queue.depth() == 0, "all is done")
        assert run.status("user_ada") == "released"
