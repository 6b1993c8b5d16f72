"""A 404 of Clerk's API releases a user only where the key is known to see our users. No one waits for an API that fails."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from reconciler.clerk.users import ClerkUsers
from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import TemporaryError
from reconciler.manager.clerk_absence import ClerkAbsence
from tests.clerk.backend import KEY, Backend, serving
from tests.manager.harness import US, RunHarness, Running, until, user_event

USERS = tuple(f"user_{name}" for name in ("ada", "bob", "cyd", "dee", "eve"))


class Elsewhere(Backend):
    """What answers for one user is not Clerk."""

    answer: Response

    def one(self, request: Request) -> Response:
        super().one(request)
        return self.answer


@pytest.fixture
def patient(harness: RunHarness) -> RunHarness:
    """A table that is read often, and a grace that no test waits for."""
    harness.settings["controller"] |= {"absence_grace_s": 600.0}
    harness.stores[US]["on_leave"] = "tag"
    for user in USERS:
        harness.person(user)
    return harness


@contextmanager
def without_ada(harness: RunHarness, backend: Backend) -> Iterator[Running]:
    """`run` beside this API of Clerk, asked to reconcile a user without a row."""
    with serving(backend) as url:
        harness.settings["clerk"] |= {"secret_key": KEY, "api_url": url}
        with harness.replica() as run:
            run.scanned_all()
            harness.gone("user_ada")
            run.nudge("user_ada")
            yield run


def left(harness: RunHarness) -> list[str]:
    return sorted(mail.partition("@")[0] for mail, c in harness.customers().items() if "clerk-left" in c["tags"])


def test_the_key_of_another_instance_proves_no_absence(patient: RunHarness, capsys: pytest.CaptureFixture[str]) -> None:
    backend = Backend(users=[user_event("user_dev")])
    with without_ada(patient, backend) as run:
        until(lambda: run.status("user_ada") == "pending", "the row is waited for")
        assert ("/v1/users/user_ada", {}) in backend.asked
        patient.person("user_ada")
        run.nudge("user_ada")
        until(lambda: run.status("user_ada") == "in_sync", "the row is back")
        assert "seems to belong to another Clerk instance" in capsys.readouterr().out
    assert left(patient) == []


def test_the_key_of_our_instance_proves_absence_though_some_left_with_their_rows_there(patient: RunHarness) -> None:
    backend = Backend(users=[user_event(user) for user in USERS if user not in {"user_ada", "user_bob"}])
    with without_ada(patient, backend) as run:
        until(lambda: run.status("user_ada") == "released", "Clerk's 404 counts")
        patient.gone("user_cyd")
        run.nudge("user_cyd")
        until(lambda: run.status("user_cyd") == "pending", "Clerk has this user")
    assert left(patient) == ["user_ada"]


@pytest.mark.parametrize(
    "answer",
    [
        HTMLResponse("<h1>404 Not Found</h1>", 404),
        JSONResponse({"message": "no Route matched with those values"}, 404),
        JSONResponse({"errors": [{"code": "not_found"}]}, 404),
        JSONResponse([], 404),
        JSONResponse({}, 200),
        JSONResponse(None, 200),
    ],
    ids=["html", "gateway", "code", "list", "no user", "null"],
)
def test_an_answer_that_is_not_clerks_proves_no_absence(patient: RunHarness, answer: Response) -> None:
    backend = Elsewhere(users=[user_event(user) for user in USERS])
    backend.answer = answer
    with without_ada(patient, backend) as run:
        until(lambda: run.status("user_ada") == "pending", "the row is waited for")
        assert ("/v1/users/user_ada", {}) in backend.asked
    assert left(patient) == []


def test_an_api_that_fails_keeps_no_worker_from_other_users(patient: RunHarness) -> None:
    backend = Backend(troubles=[(429, {"Retry-After": "20"})] * 100)
    with without_ada(patient, backend) as run:
        for user in USERS[1:4]:
            patient.gone(user)
        patient.person("user_eve", first_name="Evelyn")
        run.nudge(*USERS)
        until(lambda: run.statuses(USERS[:4]) == {"pending"}, "their rows are waited for", within_s=15)
        until(
            lambda: patient.customers()["user_eve@example.com"]["firstName"] == "Evelyn",
            "this user is served",
            within_s=15,
        )
    assert len(backend.asked) <= 4, "once by each worker at most"
    assert left(patient) == []


def test_a_failure_that_many_calls_meet_keeps_nothing_of_them() -> None:
    absence, depths = ClerkAbsence(print, away_s=30.0, monotonic=lambda: 0.0), list[int]()
    with ClerkUsers(KEY, api_url="http://127.0.0.1:9/v1", repeats=False) as down:
        for _ in range(9):
            with pytest.raises(TemporaryError) as failed:
                absence.is_gone(down, ClerkUserId("user_ada"), list)
            depths.append(len(list(traceback.walk_tb(failed.value.__traceback__))))
    assert max(depths[1:]) == depths[1]
