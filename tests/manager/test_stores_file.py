"""stores.yaml while running: followed on change and on SIGHUP, refused where it is wrong, and what a change means."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from reconciler.core.model.ids import StoreName
from reconciler.manager.config_files import digest_of, settled_digest
from reconciler.simulator.webhooks.delivery import sign
from tests.clerk import sender
from tests.clock import WallClock
from tests.manager.harness import APP_SECRET, EU, US, RunHarness, Running, store_of, until, user_event


def taken(run: Running, result: str = "taken") -> float:
    return run.metric("reconciler_config_reloads_total", result=result)


def webhook(run: Running, store: str, **headers: str) -> int:
    return run.client.post(f"/webhooks/shopify/{store}", content=b"{}", headers=headers).status_code


def test_a_bad_edit_is_refused_and_the_running_config_stays(harness: RunHarness, capsys: Any) -> None:
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        harness.stores[US]["tags"] = ["changed"]
        harness.stores[US]["colour"] = "blue"
        harness.write()
        until(lambda: taken(run, "refused") == 1, "the edit is refused")
        until(lambda: "config_refused" in capsys.readouterr().out, "the log says so")
        harness.person("user_b")
        run.nudge("user_b")
        until(lambda: run.status("user_b") == "in_sync", "work continues")
        assert harness.customers()["user_b@example.com"]["tags"] == ["app-user"]
        harness.paths[1].unlink()  # and so is a file that is gone
        until(lambda: taken(run, "refused") == 2, "that is refused too")
        del harness.stores[US]["colour"]
        harness.write()
        until(lambda: harness.customers()["user_a@example.com"]["tags"] == ["changed"], "the next good one is taken")
        assert taken(run) == 1


def test_the_controllers_own_file_needs_a_restart(harness: RunHarness) -> None:
    with harness.replica() as run:
        harness.settings["controller"]["workers"] = 7
        harness.write()
        until(lambda: taken(run, "refused") == 1, "it says so")


def test_stores_are_taken_while_the_controllers_own_file_waits_for_a_restart(harness: RunHarness) -> None:
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        harness.settings["controller"]["workers"] = 7
        harness.write()
        until(lambda: taken(run, "refused") == 1, "it waits for a restart")
        harness.stores[US]["tags"] = ["changed"]
        harness.write()
        until(lambda: harness.customers()["user_a@example.com"]["tags"] == ["changed"], "the store is followed")
        assert run.metric("reconciler_config_current") == 0
        assert (taken(run), taken(run, "refused")) == (1, 1)
        harness.settings["profiles"]["trust_email"] = "always"  # by which stores are read: now nothing can be taken
        harness.stores[US]["tags"] = ["changed again"]
        harness.write()
        harness.settings["controller"]["workers"] = 4
        harness.settings["profiles"]["trust_email"] = "verified"
        harness.write()
        until(lambda: run.metric("reconciler_config_current") == 1, "all is taken")
        until(lambda: harness.customers()["user_a@example.com"]["tags"] == ["changed again"], "and the store follows")


@pytest.mark.parametrize("place", ["in the file", "in a file that it names"])
def test_clerks_secret_is_rotated_without_a_restart(harness: RunHarness, place: str) -> None:
    new_key = b"the key after the rotation"
    other = "whsec_" + base64.b64encode(new_key).decode()
    secret = harness.folder / "clerk-secret"
    secret.write_text(sender.SECRET)
    named = sender.SECRET if place == "in the file" else f"${{file:{secret}}}"
    harness.settings["clerk"]["webhook_secrets"] = [named]
    with harness.replica() as run:
        body = sender.event("user.updated", user_event("user_a"))

        def sent(secret: str) -> int:
            key = new_key if secret == other else sender.KEY
            headers = sender.headers(body, key=key, message_id=harness.new_id(), at=WallClock().now())
            return run.client.post("/webhooks/clerk", content=body, headers=headers).status_code

        assert (sent(sender.SECRET), sent(other)) == (202, 401)
        if place == "in the file":
            harness.settings["clerk"]["webhook_secrets"] = [sender.SECRET, other]
            harness.write()
            until(lambda: taken(run) == 1, "both are trusted")
            assert (sent(sender.SECRET), sent(other)) == (202, 202)
            harness.settings["clerk"]["webhook_secrets"] = [other]
            harness.write()
        else:
            secret.write_text(other)
        until(lambda: (sent(sender.SECRET), sent(other)) == (401, 202), "only the new one is trusted")
        assert run.metric("reconciler_config_current") == 1


def test_a_file_that_is_asked_for_is_read_though_nothing_tells_that_it_changed(harness: RunHarness) -> None:
    harness.person("user_a")
    with harness.replica(files_s=3600.0) as run:
        run.scanned_all()
        harness.stores[US]["tags"] = ["by-signal"]
        harness.write()
        run.manager.reload_soon()
        until(lambda: harness.customers()["user_a@example.com"]["tags"] == ["by-signal"], "it was read")


def test_a_store_that_is_added_is_scanned_and_one_that_is_removed_is_left_alone(two_shops: RunHarness) -> None:
    harness = two_shops
    eu = harness.stores.pop(EU)
    for n in range(3):
        harness.person(f"user_{n}")
    with harness.replica() as run:
        run.scanned_all()
        assert webhook(run, EU) == 404
        harness.stores[EU] = eu
        harness.write()
        until(lambda: len(harness.emails(EU)) == 3, "the new store has everybody")
        assert webhook(run, EU) == 401
        run.scanned_all()  # at both
        del harness.stores[EU]
        harness.write()
        until(lambda: webhook(run, EU) == 404, "its webhooks belong to no store")
        until(lambda: taken(run) == 2, "the file was taken")
        calls = len(harness.shop(EU).calls)
        harness.person("user_0", first_name="New")
        run.nudge("user_0")
        run.nudge("user_0", store=EU)
        until(lambda: harness.customers()["user_0@example.com"]["firstName"] == "New", "the other one continues")
        until(lambda: run.components.queue.depth(StoreName(US)) == 0, "its queue is worked off")
        assert len(harness.shop(EU).calls) == calls
        assert run.status("user_0", EU) == "in_sync"  # what is known of it stays


def test_a_renamed_store_keeps_its_mappings_and_loses_no_request(harness: RunHarness) -> None:
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        before = harness.mutations()
        harness.stores = {"acme-na": harness.stores[US]}
        harness.person("user_a", first_name="New")  # asked for under the old name, at the last moment
        harness.write()
        until(lambda: harness.customers()["user_a@example.com"]["firstName"] == "New", "the user was reconciled")
        until(lambda: webhook(run, US) == 404, "the old name belongs to no store")
        assert webhook(run, "acme-na") == 401
        run.settled()
        assert harness.mutations() == before + 1
        row = run.mapping("user_a")
        assert row is not None
        assert row.store == "acme-na"
        until(lambda: run.components.queue.depth() == 0, "nothing is owed")


def test_the_console_and_the_nudges_know_the_stores_that_are_configured_now(two_shops: RunHarness) -> None:
    harness = two_shops
    eu = harness.stores.pop(EU)
    harness.settings["server"] = {"console_token": "a-token-for-the-console"}
    harness.person("user_a")
    bearer = {"authorization": "Bearer a-token-for-the-console"}

    def shown(run: Running) -> list[set[str]]:
        """The stores that each page offers; on the first page, those of its rows: recent runs name removed stores, too."""
        found = []
        for path in ("/people", "/events", "/"):
            page = run.client.get(path, headers=bearer).text
            mark = '<a href="/stores/{}">' if path == "/" else ">{}<"
            found.append({name for name in (US, EU) if mark.format(name) in page})
        return found

    def nudged(run: Running) -> int:
        wish = {"user": "user_a", "stores": [EU]}
        return run.client.post("/nudge", json=wish, headers=bearer).status_code

    with harness.replica() as run:
        run.scanned_all()
        assert (shown(run), nudged(run)) == ([{US}] * 3, 404)
        harness.stores[EU] = eu
        harness.write()
        until(lambda: run.status("user_a", EU) == "in_sync", "the new store has the customer")
        assert (shown(run), nudged(run)) == ([{US, EU}] * 3, 202)
        assert "user_a" in run.client.get(f"/people?store={EU}", headers=bearer).text
        run.settled()
        del harness.stores[US]
        harness.write()
        until(lambda: taken(run) == 2, "the file was taken")
        assert shown(run) == [{EU}] * 3


def test_a_token_that_is_rotated_in_a_file_of_its_own_lets_a_suspended_store_in_again(harness: RunHarness) -> None:
    secret = harness.paths[1].with_name("token")
    secret.write_text("token-of-yesterday")
    harness.stores[US]["auth"] = {"access_token": f"${{file:{secret}}}"}
    harness.write()
    harness.person("user_a")
    with harness.replica(probe_first_s=3600.0) as run:
        until(run.manager.running.suspensions, "the store is suspended")
        secret.write_text(f"token-{US}")
        until(lambda: not run.manager.running.suspensions(), "the file that is named was read again")
        until(lambda: run.status("user_a") == "in_sync", "work continues")


def test_a_new_token_resumes_a_suspended_store_immediately(harness: RunHarness) -> None:
    harness.stores[US]["auth"] = {"access_token": "wrong"}
    harness.person("user_a")
    with harness.replica(probe_first_s=3600.0) as run:
        until(run.manager.running.suspensions, "the store is suspended")
        harness.stores[US] = store_of(harness, US)
        harness.write()
        until(lambda: run.status("user_a") == "in_sync", "the customer is there")
        assert not next(iter(run.manager.service.status_rows())).suspended


def test_a_reload_forgets_nothing_of_the_bucket_of_a_shop_that_is_the_same(two_shops: RunHarness) -> None:
    """A client that begins afresh believes in a full bucket, and runs into the end of the real one."""
    harness = two_shops
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        calls = len(harness.shop().calls)
        harness.stores[EU]["tags"] = ["changed"]
        harness.write()
        until(lambda: harness.customers(EU)["user_a@example.com"]["tags"] == ["changed"], "the file was taken")
        assert len(harness.shop().calls) == calls  # no one has asked it since
        size = harness.shop().bucket.size
        assert run.metric("reconciler_points_available", store=US) == pytest.approx(size, rel=0.5)


def sent(run: Running, secret: str) -> int:
    """The answer to a webhook that is signed with this secret."""
    return webhook(
        run, US, **{"X-Shopify-Hmac-Sha256": sign(b"{}", secret), "X-Shopify-Topic": "products/update",
                    "X-Shopify-Shop-Domain": f"{US}.myshopify.com"},
    )  # fmt: skip


def test_a_changed_webhook_secret_holds_immediately(harness: RunHarness) -> None:
    with harness.replica() as run:
        assert (sent(run, APP_SECRET), sent(run, "next")) == (202, 401)
        harness.stores[US]["webhook_secret"] = "next"
        harness.write()
        until(lambda: sent(run, "next") == 202, "the new secret holds")
        assert sent(run, APP_SECRET) == 401


def test_a_webhook_secret_that_is_rotated_in_a_file_of_its_own_holds_soon(harness: RunHarness) -> None:
    secret = harness.paths[1].with_name("webhook-secret")
    secret.write_text("secret-of-yesterday")
    harness.stores[US]["webhook_secret"] = f"${{file:{secret}}}"
    harness.write()
    with harness.replica() as run:
        assert (sent(run, "secret-of-yesterday"), sent(run, "next")) == (202, 401)
        fresh = secret.with_name("webhook-secret.new")
        fresh.write_text("next\n")
        fresh.replace(secret)  # as an orchestrator swaps it
        until(lambda: sent(run, "next") == 202, "the new secret holds")
        assert sent(run, "secret-of-yesterday") == 401
        secret.write_text("")  # a writer that has only begun
        until(lambda: "empty" in (problem(run) or ""), "it is said why it is not taken")
        assert sent(run, "next") == 202
        secret.write_text("third")
        until(lambda: sent(run, "third") == 202, "the whole file is taken")
        until(lambda: problem(run) is None, "and nothing is complained of")


def test_a_rotated_secret_of_the_controllers_own_file_is_said_to_need_a_restart(harness: RunHarness) -> None:
    secret = harness.paths[1].with_name("public-url")
    secret.write_text("https://one.example.com")
    harness.settings["server"] = {"public_url": f"${{file:{secret}}}"}
    harness.write()
    with harness.replica() as run:
        secret.write_text("https://two.example.com")
        until(lambda: "that it names" in (problem(run) or ""), "it is said")
        assert run.metric("reconciler_config_current") == 0


def test_a_token_that_is_rotated_or_removed_ends_its_sessions_without_a_restart(harness: RunHarness) -> None:
    secret = harness.paths[1].with_name("console-token")
    secret.write_text("a-token-for-the-console")
    ada = {"name": "ada", "role": "viewer", "token": "a-token-of-ada"}
    harness.settings["server"] = {"console_token": f"${{file:{secret}}}", "tokens": [ada]}
    harness.write()
    with harness.replica() as run, httpx.Client(base_url=run.manager.url) as of_ada:
        run.client.post("/login", data={"token": "a-token-for-the-console"})
        of_ada.post("/login", data={"token": "a-token-of-ada"})
        assert (run.client.get("/").status_code, of_ada.get("/").status_code) == (200, 200)
        secret.write_text("another-token-for-it")
        until(lambda: run.client.get("/").status_code == 401, "the session of the old token has ended")
        assert of_ada.get("/").status_code == 200
        assert run.client.post("/login", data={"token": "another-token-for-it"}).status_code == 303
        harness.settings["server"]["tokens"] = []
        harness.write()
        until(lambda: of_ada.get("/").status_code == 401, "the session of the removed token has ended")
        assert run.client.get("/").status_code == 200
        until(lambda: problem(run) is None, "and nothing is left to apply")


def test_a_named_pipe_or_a_missing_file_never_stops_the_follower(tmp_path: Path) -> None:
    named = tmp_path / "secret"
    path = tmp_path / "stores.yaml"
    path.write_text(f"a: ${{file:{named}}}")
    missing = digest_of([path])
    os.mkfifo(named)
    assert digest_of([path]) == digest_of([path]) != missing


def test_a_file_that_is_written_slowly_is_taken_only_when_it_is_whole(harness: RunHarness) -> None:
    """Cut short it is valid at every line, and wants everybody: its `where` is not there yet."""
    harness.stores[US]["where"] = {"locale": "en-US"}
    for n in range(6):
        harness.person(f"user_{n}", locale="en-US" if n == 0 else "de-DE")
    with harness.replica(files_s=0.3, removal_settles_s=3.0) as run:
        run.scanned_all()
        harness.stores[US]["tags"] = ["changed"]
        whole = yaml.safe_dump({"version": 1, "stores": [{"name": US, **harness.stores[US]}]}, sort_keys=False)
        cut = whole.index("  where:")
        assert whole.index("  tags:") < cut
        harness.paths[1].write_text(whole[:cut])
        until(lambda: run.metric("reconciler_config_current") == 0, "it is seen that the file is another")
        until(lambda: "where" in (problem(run) or ""), "it is said what the file no longer says")
        harness.paths[1].write_text(whole)
        until(lambda: harness.customers()["user_0@example.com"]["tags"] == ["changed"], "the whole file is taken")
        until(lambda: run.metric("reconciler_config_current") == 1, "and that is said")
        assert set(harness.customers()) == {"user_0@example.com"}


def test_what_a_file_takes_away_is_logged_with_counts(two_shops: RunHarness, capsys: Any) -> None:
    harness = two_shops
    for n in range(3):
        harness.person(f"user_{n}")
    with harness.replica() as run:
        run.scanned_all()
        run.settled()
        del harness.stores[EU]
        harness.write()
        until(lambda: taken(run) == 1, "the file was taken")
        logged = [line for line in capsys.readouterr().out.splitlines() if "config_removal" in line]
    (line,) = logged
    assert EU in line
    assert "3" in line


def test_status_says_that_the_file_on_disk_is_not_what_runs(harness: RunHarness) -> None:
    harness.person("user_a")
    with harness.replica() as run:
        harness.stores[US]["colour"] = "blue"
        harness.write()
        until(lambda: "colour" in (problem(run) or ""), "the state knows why")
        assert run.metric("reconciler_config_current") == 0
    assert not run.components.state.replicas.replicas(now=run.components.clock.now())


def problem(run: Running) -> str | None:
    """Why the replica does not run the files on disk, as the state knows it."""
    (replica,) = run.components.state.replicas.replicas(now=run.components.clock.now())
    return replica.config_problem


def test_files_that_were_just_written_are_read_once_they_have_settled(tmp_path: Path) -> None:
    path = tmp_path / "stores.yaml"
    path.write_text("version: 1")
    slept: list[float] = []

    def wait(seconds: float) -> bool:
        slept.append(seconds)
        if len(slept) < 3:
            path.write_text(path.read_text() + "\n# more")
        return False

    assert settled_digest([path], wait=wait) == digest_of([path])
    assert len(slept) == 3
    os.utime(path, (0, 0))
    settled_digest([path, tmp_path / "missing.yaml"], wait=wait)
    assert len(slept) == 3


def test_a_process_that_should_end_does_not_wait_for_files_to_settle(tmp_path: Path) -> None:
    path = tmp_path / "stores.yaml"
    path.write_text("version: 1")
    first = digest_of([path])
    waited_s: list[float] = []

    def wait(seconds: float) -> bool:
        waited_s.append(seconds)
        path.write_text(path.read_text() + "\n# more")
        return True

    assert settled_digest([path], wait=wait) == first
    assert len(waited_s) == 1
