"""POST /webhooks/clerk, through a real server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from reconciler.errors import StateError
from tests.clerk.sender import KEY, OLD_KEY, USER, event, headers
from tests.server.services import MemoryService, options, serving, sources, wall_clock

PATH = "/webhooks/clerk"


def send(http: httpx.Client, body: bytes, *, key: bytes | None = None, message_id: str = "msg_1") -> httpx.Response:
    signed = headers(body, at=wall_clock(), message_id=message_id, key=key or KEY)
    return http.post(PATH, content=body, headers=signed)


@pytest.mark.parametrize("kind", ["user.created", "user.updated", "user.deleted"])
def test_a_users_event_is_written_down_and_answered_202(http: httpx.Client, service: MemoryService, kind: str) -> None:
    answer = send(http, event(kind))
    assert (answer.status_code, answer.json()) == (202, {"status": "queued"})
    (taken,) = service.clerk_events
    assert (taken.user_id, taken.type, taken.deleted) == (USER, kind, kind == "user.deleted")


def test_a_slash_at_the_end_of_the_address_makes_no_difference(http: httpx.Client, service: MemoryService) -> None:
    body = event()
    signed = headers(body, at=wall_clock(), message_id="msg_1", key=KEY)
    assert http.post(PATH + "/", content=body, headers=signed).status_code == 202
    assert len(service.clerk_events) == 1


@pytest.mark.parametrize("kind", ["email.created", "session.created", "organizationMembership.created"])
def test_what_does_not_concern_us_is_answered_202_and_dropped(
    http: httpx.Client, service: MemoryService, kind: str
) -> None:
    answer = send(http, event(kind, {"id": "x", "user_id": USER}))
    assert (answer.status_code, answer.json()) == (202, {"status": "ignored"})
    assert service.untouched


def test_a_message_that_comes_again_is_taken_once(http: httpx.Client, service: MemoryService) -> None:
    assert [send(http, event()).json()["status"] for _ in range(3)] == ["queued", "duplicate", "duplicate"]
    assert send(http, event(), message_id="msg_2").json() == {"status": "queued"}
    assert len(service.clerk_events) == 2


def test_what_could_not_be_written_down_is_503_and_is_new_when_it_comes_again(
    http: httpx.Client, service: MemoryService
) -> None:
    service.fails = StateError("the state's database can't be used", hint="check state.url")
    answer = send(http, event())
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json() == {"error": "the state's database can't be used", "hint": "check state.url"}
    service.fails = None
    assert send(http, event()).json() == {"status": "queued"}
    assert len(service.clerk_events) == 1


def test_the_secret_that_is_being_rotated_out_is_still_good(http: httpx.Client, service: MemoryService) -> None:
    assert send(http, event(), key=OLD_KEY).status_code == 202
    assert len(service.clerk_events) == 1


def test_a_development_instance_never_reaches_production(http: httpx.Client, service: MemoryService) -> None:
    answer = send(http, event(instance_id="ins_2devOfTheBakery"))
    assert (answer.status_code, answer.json()) == (202, {"status": "ignored"})
    assert service.untouched


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_stale_message_is_401(http: httpx.Client, service: MemoryService, minutes: int) -> None:
    body = event()
    signed = headers(body, at=wall_clock() + timedelta(minutes=minutes))
    assert http.post(PATH, content=body, headers=signed).status_code == 401
    assert service.untouched


def test_a_changed_body_a_wrong_key_and_no_headers_are_401(http: httpx.Client, service: MemoryService) -> None:
    body = event()
    signed = headers(body, at=wall_clock())
    assert http.post(PATH, content=body + b" ", headers=signed).status_code == 401
    assert send(http, body, key=b"somebody else's key 1234").status_code == 401
    assert http.post(PATH, content=body).status_code == 401
    assert http.post(PATH, content=b"").status_code == 401
    assert service.untouched


@pytest.mark.parametrize(
    "signature", ["garbage", "v1,a", "a,b,c", "v1,  v1,", ",", "v1,\xff\xfe", "v1a,AAAA", "v1," + "A" * 9000]
)
def test_hostile_signatures_are_401_and_nothing_worse(
    http: httpx.Client, service: MemoryService, signature: str
) -> None:
    signed = headers(event(), at=wall_clock()) | {"svix-signature": signature}
    encoded = {name.encode(): value.encode("latin-1") for name, value in signed.items()}
    assert http.post(PATH, content=event(), headers=encoded).status_code == 401
    assert service.untouched


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"{}", b"\xff\xfe", event(data={"x": 1}), b"[" * 100_000])
def test_a_signed_body_that_is_no_event_is_400(http: httpx.Client, service: MemoryService, body: bytes) -> None:
    answer = send(http, body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "hint"}
    assert service.untouched


def test_a_body_above_one_mebibyte_is_413(http: httpx.Client, service: MemoryService) -> None:
    body = event(padding="x" * 1024 * 1024)
    assert send(http, body).status_code == 413
    assert service.untouched


def test_a_body_of_exactly_one_mebibyte_is_taken(http: httpx.Client, service: MemoryService) -> None:
    body = event(padding="")
    body = event(padding="x" * (1024 * 1024 - len(body)))
    assert len(body) == 1024 * 1024
    assert send(http, body).status_code == 202
    assert len(service.clerk_events) == 1


def test_a_body_without_a_length_is_counted_while_it_comes_in(http: httpx.Client, service: MemoryService) -> None:
    pieces = 0

    def endless() -> Iterator[bytes]:
        nonlocal pieces
        for pieces in range(2000):  # noqa: B007  read after the end
            yield b"x" * 65_536

    try:
        status = http.post(PATH, content=endless()).status_code
    except httpx.TransportError:  # cut off while still sending
        status = 413
    assert status == 413
    assert pieces < 1999
    assert service.untouched


def test_without_a_secret_nothing_is_lost_by_a_200() -> None:
    service = MemoryService()
    with serving(service, options(sources=replace(sources(), clerk=None))) as http:
        answer = send(http, event())
    assert answer.status_code == 503
    assert answer.json()["hint"] == "set clerk.webhook_secrets"
    assert service.untouched


def test_webhooks_are_counted_by_source_and_result() -> None:
    with serving(MemoryService()) as http:
        send(http, event())
        send(http, event())
        send(http, event("email.created"))
        send(http, b"[]")
        http.post(PATH, content=b"x")
        text = http.get("/metrics").text
    for result in ("queued", "duplicate", "ignored", "not_an_event", "unauthentic"):
        assert f'reconciler_webhooks_total{{result="{result}",source="clerk"}} 1.0' in text
    assert 'reconciler_webhook_duration_seconds_count{source="clerk"} 5.0' in text
