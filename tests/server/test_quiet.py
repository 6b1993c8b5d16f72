"""What is remembered and what is logged: little, and nothing personal."""

from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from reconciler.server.recent_webhooks import SeenWebhooks
from tests.clerk.sender import event, headers, user
from tests.server.services import TOKEN, MemoryService, serving, wall_clock

PERSONAL = ("tove@", "Ærø", "+4531415926", TOKEN, "203.0.113")


def test_the_oldest_webhooks_are_forgotten_first_and_the_rest_is_remembered() -> None:
    seen = SeenWebhooks(size=3)
    for webhook_id in ("a", "b", "c", "a", "d"):
        seen.add(webhook_id)
    assert [webhook_id for webhook_id in "abcd" if seen.seen(webhook_id)] == ["a", "c", "d"]


def test_no_log_line_holds_personal_data_or_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    service = MemoryService()
    attributes = {"http_request": {"client_ip": "203.0.113.24"}}
    broken = event(data=user(7), event_attributes=attributes)  # type: ignore[arg-type]  # an id that is none
    foreign = event(instance_id="ins_2other", event_attributes=attributes)
    with (
        serving(service) as http,
        capture_logs() as lines,
    ):  # a server of its own: one counts the wrong tokens that it saw
        for n, body in enumerate((broken, foreign, event())):
            http.post("/webhooks/clerk", content=body, headers=headers(body, at=wall_clock(), message_id=f"msg_{n}"))
        http.post("/webhooks/clerk", content=event())
        http.post("/nudge", json={"user": "tove@tove.example"}, headers={"authorization": "Bearer wrong"})
        http.get("/people", params={"token": TOKEN, "q": "tove@tove.example"})
    assert len(service.clerk_events) == 1
    assert [line["log_level"] for line in lines] == ["warning"] * 4
    written = json.dumps(lines, ensure_ascii=False) + caplog.text
    assert not [part for part in PERSONAL if part in written]
