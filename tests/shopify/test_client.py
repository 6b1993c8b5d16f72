"""Every way a call can fail lands in the error that says who acts next, and what was perhaps done is never sent twice."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from typing import Any

import pytest

from reconciler.errors import (
    AccessError,
    AnswerLost,
    PermanentError,
    ReconcilerError,
    Refused,
    SetupError,
    TemporaryError,
    Throttled,
)
from reconciler.shopify.api.auth import FixedToken
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.api.document import Document, document
from reconciler.shopify.api.pace import Pace
from tests.shopify.conftest import ADA, DOMAIN, SSL, TOKEN, Acme
from tests.shopify.scripted import scripted
from tests.shopify.virtual import VirtualTime

READ = Document("read", "query", "query R { shop { name } }", 1)
WRITE = document("customer_set")
NEW = {"identifier": {"customId": {"namespace": "clerk", "key": "user_id", "value": ADA}}, "input": {"firstName": "A"}}


def read(client: ShopClient) -> ReconcilerError:
    with pytest.raises(ReconcilerError) as caught:
        client.run(READ)
    return caught.value


def write(client: ShopClient) -> ReconcilerError:
    with pytest.raises(ReconcilerError) as caught:
        client.run(WRITE, NEW)
    return caught.value


def people(acme: Acme) -> int:
    return len(acme.sim.shop.people)


@pytest.mark.parametrize(
    ("status", "of_a_read", "of_a_write"),
    [
        (400, PermanentError, PermanentError),
        (401, AccessError, AccessError),
        (402, AccessError, AccessError),
        (403, AccessError, AccessError),
        (404, AccessError, AccessError),
        (406, PermanentError, PermanentError),
        (407, TemporaryError, TemporaryError),
        (408, TemporaryError, AnswerLost),
        (409, TemporaryError, AnswerLost),
        (414, PermanentError, PermanentError),
        (415, PermanentError, PermanentError),
        (418, PermanentError, PermanentError),
        (421, TemporaryError, TemporaryError),
        (422, PermanentError, PermanentError),
        (423, AccessError, AccessError),
        (425, TemporaryError, TemporaryError),
        (430, TemporaryError, TemporaryError),
        (451, AccessError, AccessError),
        (500, TemporaryError, AnswerLost),
        (501, TemporaryError, TemporaryError),
        (502, TemporaryError, AnswerLost),
        (503, TemporaryError, TemporaryError),
        (504, TemporaryError, AnswerLost),
        (511, TemporaryError, TemporaryError),
        (530, TemporaryError, TemporaryError),
        (540, TemporaryError, TemporaryError),
    ],
)
def test_each_http_status_says_who_acts_next(
    ready: Acme, status: int, of_a_read: type[ReconcilerError], of_a_write: type[ReconcilerError]
) -> None:
    client = ready.client()
    times = 4 if status == 403 else 2  # that one is asked of another call as well, before it counts for the whole shop
    ready.sim.faults.add("status", status=status, times=times, retry_after_s=7)
    for error, expected in ((read(client), of_a_read), (write(client), of_a_write)):
        assert type(error) is expected
        assert DOMAIN in error.message
        assert str(status) in error.message
        if status in {407, 511}:
            assert "HTTPS_PROXY" in error.hint
        elif isinstance(error, TemporaryError):
            assert error.retry_after_s == 7
        else:
            assert error.hint
    assert people(ready) == 0


GRAPHQL = [
    ("MAX_COST_EXCEEDED", PermanentError, PermanentError),
    ("INVALID_VARIABLE", PermanentError, PermanentError),
    ("MAX_INPUT_SIZE_EXCEEDED", PermanentError, PermanentError),
    ("BAD_REQUEST", PermanentError, PermanentError),
    ("PARSE_ERROR", PermanentError, PermanentError),
    ("undefinedField", PermanentError, PermanentError),
    ("missingRequiredArguments", PermanentError, PermanentError),
    ("argumentLiteralsIncompatible", PermanentError, PermanentError),
    ("ACCESS_DENIED", AccessError, AccessError),
    ("SHOP_INACTIVE", AccessError, AccessError),
    ("INTERNAL_SERVER_ERROR", TemporaryError, AnswerLost),
    ("RESOURCE_NOT_FOUND", PermanentError, Refused),
    ("NOT_FOUND", PermanentError, Refused),
    ("SOMETHING_NEW", TemporaryError, AnswerLost),
    (None, TemporaryError, AnswerLost),
]


@pytest.mark.parametrize(("code", "of_a_read", "of_a_write"), GRAPHQL)
def test_each_graphql_error_says_who_acts_next_though_http_says_200(
    ready: Acme, code: str | None, of_a_read: type[ReconcilerError], of_a_write: type[ReconcilerError]
) -> None:
    error = {"message": "Secret person@example.com", **({"extensions": {"code": code}} if code else {})}
    ready.sim.faults.add("status", status=200, body=json.dumps({"errors": [error]}), times=2)
    client = ready.client()
    found = read(client), write(client)
    assert [type(each) for each in found] == [of_a_read, of_a_write]
    if of_a_read is PermanentError and "NOT_FOUND" not in (code or ""):
        assert all("defect" in each.hint and "person@example.com" not in each.message for each in found)


def test_what_concerns_the_store_goes_before_what_concerns_the_call(ready: Acme) -> None:
    errors = [
        {"message": "Internal error", "path": ["a"], "extensions": {"code": "INTERNAL_SERVER_ERROR"}},
        {"message": "denied", "path": ["b"], "extensions": {"code": "ACCESS_DENIED", "requiredAccess": "`x` scope."}},
    ]
    ready.sim.faults.add("status", status=200, body=json.dumps({"data": {"a": None, "b": None}, "errors": errors}))
    error = read(ready.client())
    assert type(error) is AccessError
    assert "`x` scope" in error.message


def test_a_real_defect_is_called_one_and_repeats_nobodys_data(ready: Acme) -> None:
    client = ready.client()
    with pytest.raises(PermanentError, match="INVALID_VARIABLE at email") as caught:
        client.run(WRITE, {"identifier": {"id": "gid://shopify/Customer/1"}, "input": {"email": ["ada@example.com"]}})
    assert "ada@example.com" not in caught.value.message
    dear = "query D { " + " ".join(
        f"c{i}: customers(first: 250) {{ nodes {{ defaultAddress {{ id }} metafields(first: 250) {{ nodes {{ id }} }} }} }}"
        for i in range(9)
    )
    with pytest.raises(PermanentError, match="MAX_COST_EXCEEDED"):
        client.run(Document("dear", "query", dear + " }", 5))


def test_without_the_definition_the_shop_is_not_set_up(acme: Acme) -> None:
    error = write(acme.client())
    assert type(error) is SetupError
    assert "reconciler bootstrap" in error.hint


def test_a_missing_scope_is_named(ready: Acme) -> None:
    ready.sim.shop.scopes = {"read_customers"}
    error = write(ready.client())
    assert type(error) is AccessError
    assert "write_customers" in error.message
    assert TOKEN not in error.message + error.hint


@pytest.mark.parametrize(
    ("fault", "done"),
    [("lost_before", 0), ("lost_after", 1), ("truncated", 1), ("internal_error", 0), ("internal_error_after", 1),
     ("null_payload", 0), ("html", 0)],
)  # fmt: skip
def test_a_write_without_a_whole_answer_is_lost_and_never_sent_again_from_here(
    ready: Acme, fault: Any, done: int
) -> None:
    ready.sim.faults.add(fault)
    error = write(ready.client())
    assert type(error) is AnswerLost
    assert people(ready) == done
    assert sum("customerSet" in call.roots for call in ready.sim.calls) == 1


@pytest.mark.parametrize("fault", ["lost_before", "lost_after", "truncated", "internal_error", "html"])
def test_a_read_without_a_whole_answer_is_only_temporary(ready: Acme, fault: Any) -> None:
    ready.sim.faults.add(fault)
    assert type(read(ready.client())) is TemporaryError


@pytest.mark.parametrize("fault", ["lost_before", "lost_after", "truncated", "internal_error", "html", "status"])
def test_a_read_is_sent_again_while_the_shop_fails_for_a_moment(ready: Acme, fault: Any) -> None:
    time = VirtualTime()
    client = ready.client(pace=Pace(clock=time, signal=time.condition()), outage_s=10)

    def both() -> None:
        assert client.run(READ).data
        ready.sim.faults.add(fault, times=3, status=502 if fault == "status" else None)
        assert client.run(READ).data
        assert 1.5 < time.now < 4
        ready.sim.faults.add(fault, times=None, status=502 if fault == "status" else None)
        began = time.now
        assert type(read(client)) is TemporaryError
        assert 5 < time.now - began < 10, "one who fails for long is reported"
        began = time.now
        assert type(read(client)) is TemporaryError
        assert time.now - began < 10, "the outage is one for all calls"
        ready.sim.faults.clear()
        client.pace.wait(60)
        ready.sim.faults.add(fault, status=502 if fault == "status" else None)
        assert client.run(READ).data, "this is another outage"

    time.run(both)


def test_a_shop_that_never_replied_is_asked_again_for_a_shorter_time(ready: Acme) -> None:
    time = VirtualTime()
    client = ready.client(pace=Pace(clock=time, signal=time.condition()), outage_s=10)

    def both() -> None:
        ready.sim.faults.add("status", status=502, times=None)
        assert type(read(client)) is TemporaryError
        assert 0.5 < time.now < 2.5

    time.run(both)
    assert people(ready) == 0


@pytest.mark.parametrize(("status", "sent"), [(503, 2), (430, 2), (500, 1), (502, 1)])
def test_of_writes_only_those_that_were_certainly_not_executed_are_sent_again(
    ready: Acme, status: int, sent: int
) -> None:
    time = VirtualTime()
    client = ready.client(pace=Pace(clock=time, signal=time.condition()), outage_s=10)

    def both() -> None:
        assert client.run(READ).data
        ready.sim.faults.add("status", status=status)
        if sent == 1:
            assert type(write(client)) is AnswerLost
        else:
            assert client.run(WRITE, NEW).data["customerSet"]["customer"]["id"]

    time.run(both)
    assert sum("customerSet" in call.roots for call in ready.sim.calls) == sent
    assert people(ready) == sent - 1


def test_a_pause_that_is_longer_than_an_outage_is_left_to_the_caller(ready: Acme) -> None:
    client = ready.client(outage_s=10)
    assert client.run(READ).data
    ready.sim.faults.add("status", status=503, retry_after_s=60)
    error = read(client)
    assert isinstance(error, TemporaryError)
    assert error.retry_after_s == 60


def test_where_no_server_listens_nothing_was_sent() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    client = ShopClient(DOMAIN, auth=FixedToken(TOKEN), api_version="2026-10", ssl_context=SSL, admin_url=url)
    error = write(client)
    client.close()
    assert type(error) is TemporaryError
    assert "nothing was sent" in error.hint


def test_a_throttled_call_waits_and_is_sent_again(ready: Acme) -> None:
    ready.sim.faults.add("throttled", times=3)
    client = ready.client(pace=Pace(pause_s=0.01))
    assert client.run(WRITE, NEW).data["customerSet"]["customer"]["id"]
    assert people(ready) == 1


def test_a_call_that_is_asked_to_retry_later_waits_as_long_and_is_sent_again(ready: Acme) -> None:
    time = VirtualTime()
    client = ready.client(pace=Pace(clock=time, signal=time.condition()))

    def both() -> None:
        ready.sim.faults.add("status", status=429, times=2, retry_after_s=7)
        assert client.run(READ).data
        assert time.now == 14
        ready.sim.faults.add("status", status=429)
        assert client.run(WRITE, NEW).data["customerSet"]["customer"]["id"]
        assert time.now == 16

    time.run(both)
    assert people(ready) == 1


@pytest.mark.parametrize("asked_s", [0.0, -5.0, 0.001])
def test_a_call_that_is_asked_to_retry_without_a_pause_waits_longer_and_longer(ready: Acme, asked_s: float) -> None:
    time = VirtualTime()
    client = ready.client(pace=Pace(clock=time, signal=time.condition()))
    began: list[float] = []

    def both() -> None:
        for times in (2, 3):
            ready.sim.faults.clear()
            ready.sim.faults.add("status", status=429, times=times, retry_after_s=asked_s)
            before = time.now
            assert client.run(READ).data
            began.append(time.now - before)
        ready.sim.faults.clear()
        ready.sim.faults.add("status", status=429, times=None, retry_after_s=asked_s)
        assert isinstance(write(client), TemporaryError)

    time.run(both)
    assert 1.5 <= began[0] <= 3.0
    assert 3.5 <= began[1] <= 7.0
    assert 7.5 <= time.now - sum(began) <= 31.0
    assert people(ready) == 0


def test_a_call_that_is_asked_to_retry_much_later_says_so_immediately(ready: Acme) -> None:
    time = VirtualTime()
    client = ready.client(pace=Pace(clock=time, signal=time.condition()))

    def both() -> None:
        ready.sim.faults.add("status", status=429, retry_after_s=600)
        error = read(client)
        assert isinstance(error, TemporaryError)
        assert (error.retry_after_s, time.now) == (600, 0)
        ready.sim.faults.add("status", status=429, times=None, retry_after_s=20)
        error = write(client)
        assert isinstance(error, TemporaryError)
        assert (error.retry_after_s, time.now) == (20, 20)

    time.run(both)
    assert people(ready) == 0


def test_a_call_that_is_throttled_for_ever_gives_up(ready: Acme) -> None:
    fault = ready.sim.faults.add("throttled", times=None)
    error = write(ready.client(pace=Pace(pause_s=0.01)))
    assert type(error) is Throttled
    assert error.retry_after_s is not None
    assert fault.hits == 6


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_token_never_follows_a_redirect(status: int) -> None:
    with scripted() as thief, scripted() as shop:
        thief.then(200, b'{"data": {"shop": {"name": "thief"}}}')
        shop.then(status, Location=f"{thief.url}/admin/api/2026-10/graphql.json?to=evil")
        client = ShopClient(DOMAIN, auth=FixedToken(TOKEN), api_version="2026-10", ssl_context=SSL, admin_url=shop.url)
        error = read(client)
        client.close()
        assert type(error) is AccessError
        assert "redirect" in error.message
        assert "127.0.0.1" in error.message
        assert shop.seen[0][1]["X-Shopify-Access-Token"] == TOKEN
        assert thief.seen == []


@pytest.mark.parametrize("body", [b"[]", b"nonsense", b'{"data": null}', b"{}", b"\xff\xfe", b'{"data": 7}'])
def test_an_answer_that_is_none_is_not_taken_for_one(body: bytes) -> None:
    with scripted() as shop:
        shop.then(200, body)
        client = ShopClient(DOMAIN, auth=FixedToken(TOKEN), api_version="2026-10", ssl_context=SSL, admin_url=shop.url)
        assert type(read(client)) is TemporaryError
        assert type(write(client)) is AnswerLost
        client.close()


def test_certificates_are_read_once_and_only_where_something_is_encrypted() -> None:
    made: list[ssl.SSLContext] = []

    def machines() -> ssl.SSLContext:
        made.append(SSL)
        return SSL

    with scripted() as shop:
        shop.then(200, b'{"data": {"shop": {"name": "acme"}}}')
        client = ShopClient(
            DOMAIN, auth=FixedToken(TOKEN), api_version="2026-10", ssl_context=machines, admin_url=shop.url
        )
        client.run(READ)
        client.storage(shop.url).close()
        assert made == []
        for _ in range(2):
            client.storage("https://storage.example.com/result").close()
        client.close()
    assert made == [SSL]


def test_retry_after_may_be_a_date() -> None:
    with scripted() as shop:
        shop.then(503, Retry_After="Wed, 21 Oct 2026 07:28:30 GMT", Date="Wed, 21 Oct 2026 07:28:00 GMT")
        client = ShopClient(DOMAIN, auth=FixedToken(TOKEN), api_version="2026-10", ssl_context=SSL, admin_url=shop.url)
        error = read(client)
        client.close()
        assert isinstance(error, TemporaryError)
        assert error.retry_after_s == 30


def test_another_api_version_than_asked_is_reported_once(acme: Acme) -> None:
    client = acme.client(api_version="2025-01")
    for _ in range(3):
        assert client.run(READ).api_version == "2026-01"
    assert len(acme.warnings) == 1
    assert "2025-01" in acme.warnings[0]
    assert "2026-01" in acme.warnings[0]


def test_the_points_of_a_document_are_learnt_from_its_first_reply(acme: Acme) -> None:
    client = acme.client()
    dear = Document("dear", "query", "query D { customers(first: 250) { nodes { id } } }", 1)
    reply = client.run(dear)
    assert (reply.requested, reply.spent) == (13, 13)
    assert client.points_of(dear) == 13


def test_connections_are_few() -> None:
    for wrong in (0, 1, 6, 100):
        with pytest.raises(ValueError, match="2 to 5"):
            ShopClient(DOMAIN, auth=FixedToken(TOKEN), api_version="2026-10", connections=wrong)


def test_twenty_threads_get_each_their_own_answer(ready: Acme) -> None:
    """Connections pass from thread to thread all the time here, and none is closed or read by two."""
    port = ready.customers()
    made = {f"p{n}@example.com": ready.made(email=f"p{n}@example.com") for n in range(20)}
    wrong: list[object] = []

    def work(email: str) -> None:
        for _ in range(15):
            try:
                found = port.by_emails([email])
                if {e: c.id for e, c in found.items()} != {email: made[email]}:
                    wrong.append((email, found))
            except ReconcilerError as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(email,)) for email in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
