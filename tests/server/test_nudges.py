"""POST /nudge and POST /webhooks/supabase: for everyone who holds the token, and for no one else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from reconciler.errors import StateError
from tests.server.services import EU, TOKEN, US, MemoryService, Nudged, options, serving

BEARER = {"authorization": f"Bearer {TOKEN}"}


def test_a_nudge_queues_the_user_in_all_stores_or_in_those_named(http: httpx.Client, service: MemoryService) -> None:
    assert http.post("/nudge", json={"user": "user_1"}, headers=BEARER).json() == {"status": "queued"}
    assert http.post("/nudge", json={"user": "user_2", "stores": [US, EU]}, headers=BEARER).status_code == 202
    assert service.nudges == [Nudged("user_1", "nudge", None), Nudged("user_2", "nudge", (US, EU))]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"authorization": "Bearer x"}, {"authorization": f"Basic {TOKEN}"}, {"authorization": f"Bearer {TOKEN}x"}],
)
@pytest.mark.parametrize("path", ["/nudge", "/webhooks/supabase"])
def test_without_the_token_no_one_is_nudged(
    http: httpx.Client, service: MemoryService, path: str, wrong: dict[str, str]
) -> None:
    answer = http.post(path, json={"user": "user_1"}, headers=wrong)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert service.untouched


@pytest.mark.parametrize("token", ["é".encode(), b"\xff\xfe", b"x" * 9000])
def test_a_token_that_is_no_text_is_401(http: httpx.Client, token: bytes) -> None:
    assert http.post("/nudge", json={"user": "u"}, headers={b"authorization": b"Bearer " + token}).status_code == 401


@pytest.mark.parametrize("path", ["/nudge", "/webhooks/supabase"])
def test_where_no_token_is_set_no_one_can_nudge(path: str) -> None:
    service = MemoryService()
    with serving(service, options(console_token="")) as http:
        for headers in ({}, {"x-reconciler-token": ""}, BEARER):
            answer = http.post(path, json={"user": "user_1"}, headers=headers)
            assert (answer.status_code, answer.json()["hint"]) == (403, "set server.nudge_token")
    assert service.untouched


def test_a_store_that_is_none_is_404_and_no_one_is_nudged(http: httpx.Client, service: MemoryService) -> None:
    assert http.post("/nudge", json={"user": "user_1", "stores": [US, "unknown"]}, headers=BEARER).status_code == 404
    assert service.untouched


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user": ""},
        {"user": 7},
        {"user": "a b"},
        {"user": "u\x00"},
        {"user": "u", "stores": []},
        {"user": "u", "x": 1},
        [],
    ],
)
def test_a_nudge_of_another_shape_is_422_and_says_where(http: httpx.Client, service: MemoryService, body: Any) -> None:
    answer = http.post("/nudge", json=body, headers=BEARER)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("body")
    assert service.untouched


def test_a_nudge_that_could_not_be_written_down_is_503(http: httpx.Client, service: MemoryService) -> None:
    service.fails = StateError("the state is away")
    assert http.post("/nudge", json={"user": "user_1"}, headers=BEARER).status_code == 503


def change(kind: str = "UPDATE", **parts: Any) -> dict[str, Any]:
    row = {"clerk_user_id": "user_1", "email": "tove@tove.example"}
    return {"type": kind, "table": "customers", "schema": "public", "record": row, "old_record": None, **parts}


@pytest.mark.parametrize("headers", [BEARER, {"X-Reconciler-Token": TOKEN}], ids=["bearer", "own header"])
@pytest.mark.parametrize("kind", ["INSERT", "UPDATE"])
def test_a_changed_row_nudges_its_user(
    http: httpx.Client, service: MemoryService, headers: dict[str, str], kind: str
) -> None:
    assert http.post("/webhooks/supabase", json=change(kind), headers=headers).json() == {"status": "queued"}
    assert service.nudges == [Nudged("user_1", "profile changed", None)]


@pytest.mark.parametrize(("key", "user"), [(9007199254740993, "9007199254740993"), ("user_1    ", "user_1")])
def test_a_key_of_a_column_of_numbers_or_of_fixed_length_nudges_its_user(
    http: httpx.Client, service: MemoryService, key: object, user: str
) -> None:
    changed = change(record={"clerk_user_id": key})
    assert http.post("/webhooks/supabase", json=changed, headers=BEARER).json() == {"status": "queued"}
    assert [nudged.user for nudged in service.nudges] == [user]


def test_a_deleted_row_nudges_who_was_in_it(http: httpx.Client, service: MemoryService) -> None:
    gone = change("DELETE", record=None, old_record={"clerk_user_id": "user_9"})
    assert http.post("/webhooks/supabase", json=gone, headers=BEARER).status_code == 202
    assert [nudged.user for nudged in service.nudges] == ["user_9"]


def test_a_row_that_changed_owners_nudges_both(http: httpx.Client, service: MemoryService) -> None:
    moved = change(old_record={"clerk_user_id": "user_0"})
    assert http.post("/webhooks/supabase", json=moved, headers=BEARER).status_code == 202
    assert [nudged.user for nudged in service.nudges] == ["user_1", "user_0"]


@pytest.mark.parametrize(
    "other",
    [
        change(table="orders"),
        change(schema="private"),
        change(record={"id": 7}),
        change(record={"clerk_user_id": None}),
        change(record={"clerk_user_id": True}),
        change(record={"clerk_user_id": "a\nb"}),
        change("DELETE", record=None),
    ],
)
def test_a_row_that_is_not_a_profile_is_202_and_dropped(
    http: httpx.Client, service: MemoryService, other: dict[str, Any]
) -> None:
    answer = http.post("/webhooks/supabase", json=other, headers=BEARER)
    assert (answer.status_code, answer.json()) == (202, {"status": "ignored"})
    assert service.untouched


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"[]", b"{}", b'{"type": "TRUNCATE", "table": "customers", "schema": "public"}']
)
def test_a_body_that_is_no_change_of_a_row_is_400(http: httpx.Client, service: MemoryService, body: bytes) -> None:
    assert http.post("/webhooks/supabase", content=body, headers=BEARER).status_code == 400
    assert service.untouched
