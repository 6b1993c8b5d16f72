"""Clerk's webhooks: who is believed, what is kept, and that nothing else ever comes out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from freezegun import freeze_time
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.clerk.webhook import ClerkEvent, ClerkWebhooks, time_from_number
from reconciler.errors import ConfigError, NotAnEvent, Unauthentic
from tests.clerk.sender import (
    INSTANCE,
    KEY,
    NOW,
    OLD_KEY,
    OLD_SECRET,
    SECRET,
    UPDATED_MS,
    USER,
    event,
    headers,
    signature,
)

ONE_CODE = "314159"


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    with freeze_time(NOW):
        yield


def reader(*secrets: str, instance_id: str | None = None) -> ClerkWebhooks:
    return ClerkWebhooks(secrets or (SECRET,), instance_id=instance_id)


def read(body: bytes, **changes: str) -> ClerkEvent:
    return reader().read(headers(body) | changes, body)


def test_an_update_names_the_user_and_how_new_it_is() -> None:
    found = read(event())
    assert (found.id, found.type, found.user_id, found.deleted) == ("msg_1", "user.updated", USER, False)
    assert found.updated_at == datetime.fromtimestamp(UPDATED_MS / 1000, UTC)
    assert found.user is not None
    assert found.user["last_name"] == "Ærø"


def test_a_user_is_not_shown_where_an_event_is_printed() -> None:
    assert "tove@" not in repr(read(event()))


def test_a_deletion_names_the_user_and_nothing_else() -> None:
    found = read(event("user.deleted"))
    assert (found.user_id, found.deleted, found.updated_at, found.user) == (USER, True, None, None)


def test_a_deletion_that_does_not_say_who_is_an_event_all_the_same() -> None:
    found = read(event("user.deleted", {"deleted": True, "object": "user"}))
    assert (found.user_id, found.deleted) == (None, True)


@pytest.mark.parametrize(
    "kind", ["email.created", "sms.created", "session.created", "organization.created", "user.invented"]
)
def test_other_types_are_recognised_and_nothing_of_them_is_kept(kind: str) -> None:
    found = read(event(kind, {"id": "x", "user_id": USER, "data": {"otp_code": ONE_CODE}, "body": ONE_CODE}))
    assert found.type == kind
    assert found.user_id is None
    assert ONE_CODE not in str(found.model_dump())


@pytest.mark.parametrize("timestamp", [1_795_424_400, 1_795_424_400_000])
def test_the_envelopes_time_may_be_in_seconds_or_milliseconds(timestamp: int) -> None:
    assert read(event(timestamp=timestamp)).sent_at == NOW


@pytest.mark.parametrize("timestamp", [None, "soon", True, -1, 0, 10**30, 1.5, []])
def test_an_odd_time_in_the_envelope_is_no_time_and_no_failure(timestamp: object) -> None:
    assert read(event(timestamp=timestamp)).sent_at is None


def test_another_instance_is_distinguished_and_its_users_are_not_named() -> None:
    body = event(instance_id="ins_dev")
    found = reader(instance_id=INSTANCE).read(headers(body), body)
    assert found.foreign
    assert found.user_id is None
    assert found.user is None
    assert not reader(instance_id=INSTANCE).read(headers(event()), event()).foreign


def test_each_of_several_secrets_is_good_while_one_is_rotated() -> None:
    body = event()
    both = reader(SECRET, OLD_SECRET)
    assert both.read(headers(body, key=KEY), body).user_id == USER
    assert both.read(headers(body, key=OLD_KEY), body).user_id == USER
    with pytest.raises(Unauthentic):
        reader(SECRET).read(headers(body, key=OLD_KEY), body)


def test_headers_are_found_in_any_case_and_by_their_white_label_names() -> None:
    body = event()
    assert reader().read({k.upper(): v for k, v in headers(body).items()}, body).user_id == USER
    assert reader().read(headers(body, family="webhook"), body).user_id == USER
    garbled = dict.fromkeys(("webhook-id", "webhook-timestamp", "webhook-signature"), "7")
    assert reader().read(garbled | headers(body), body).user_id == USER


@pytest.mark.parametrize("seconds", [-299, -1, 0, 1, 299])
def test_five_minutes_either_way_are_tolerated(seconds: int) -> None:
    body = event()
    assert reader().read(headers(body, at=NOW + timedelta(seconds=seconds)), body).user_id == USER


@pytest.mark.parametrize("seconds", [-86_400, -301, 301, 86_400])
def test_what_is_older_or_newer_is_stale(seconds: int) -> None:
    body = event()
    with pytest.raises(Unauthentic):
        reader().read(headers(body, at=NOW + timedelta(seconds=seconds)), body)


def test_a_time_in_another_zone_is_the_same_time() -> None:
    body = event()
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert reader().read(headers(body, at=elsewhere), body).user_id == USER


def test_a_good_signature_is_found_among_others_and_among_rubbish() -> None:
    body = event()
    good = headers(body)["svix-signature"]
    other = signature(body, key=OLD_KEY, seconds=int(NOW.timestamp()))
    for mixed in (
        f"{other} {good}",
        f"v1a,xyz {good}",
        f"garbage {good}",
        f"v1,a {good}",
        f" {good}  v1,",
        f"a,b,c {good}",
    ):
        assert read(body, **{"svix-signature": mixed}).user_id == USER


@pytest.mark.parametrize(
    "changes",
    [
        {"svix-signature": ""},
        {"svix-signature": "garbage"},
        {"svix-signature": "v1,a"},
        {"svix-signature": "a,b,c"},
        {"svix-signature": "v1,  v1,"},
        {"svix-signature": "v1,é"},
        {"svix-signature": "v1a," + base64.b64encode(bytes(64)).decode()},
        {"svix-signature": "v2," + base64.b64encode(bytes(32)).decode()},
        {"svix-signature": "v1," + base64.b64encode(bytes(32)).decode()},
        {"svix-signature": "v1,AAAA " * 5000},
        {"svix-id": ""},
        {"svix-id": "msg_2"},
        {"svix-id": "\ud800"},
        {"svix-timestamp": ""},
        {"svix-timestamp": "now"},
        {"svix-timestamp": "nan"},
        {"svix-timestamp": "inf"},
        {"svix-timestamp": "1e400"},
        {"svix-timestamp": "-1"},
        {"svix-timestamp": "9" * 12},
        {"svix-timestamp": "9" * 4000},
        {"svix-timestamp": f"{int(NOW.timestamp())}.0"},
        {"svix-timestamp": "１７９５４２４４００"},
        {"svix-timestamp": " 1795424400"},
    ],
    ids=lambda changes: repr(changes)[:40],
)
def test_hostile_headers_are_unauthentic_and_nothing_else(changes: dict[str, str]) -> None:
    with pytest.raises(Unauthentic):
        read(event(), **changes)


def test_missing_headers_are_unauthentic() -> None:
    whole = headers(event())
    for name in whole:
        with pytest.raises(Unauthentic):
            reader().read({k: v for k, v in whole.items() if k != name}, event())
    with pytest.raises(Unauthentic):
        reader().read({}, b"")


def test_a_body_that_was_parsed_and_written_again_is_unauthentic() -> None:
    body = event()
    with pytest.raises(Unauthentic):
        reader().read(headers(body), json.dumps(json.loads(body), indent=1).encode())


NO_TEXT = b'{"type": "user.updated", "data": {"id": "\xff\xfe"}}'


def test_a_body_that_is_no_text_is_as_authentic_as_its_bytes_are_signed_and_no_event() -> None:
    both = reader(OLD_SECRET, SECRET)
    for signed in (headers(NO_TEXT), headers(NO_TEXT, key=OLD_KEY)):
        with pytest.raises(NotAnEvent):
            both.read(signed, NO_TEXT)


@pytest.mark.parametrize(
    "signed",
    [
        headers(NO_TEXT, key=b"somebody else's"),
        headers(NO_TEXT + b" "),
        headers(b""),
        headers(NO_TEXT) | {"svix-id": "msg_2"},
        headers(NO_TEXT) | {"svix-id": "\ud800"},
        headers(NO_TEXT, at=NOW - timedelta(minutes=6)),
        headers(NO_TEXT, at=NOW + timedelta(minutes=6)),
        headers(NO_TEXT) | {"svix-timestamp": "999999999999"},
    ],
)
def test_a_body_that_is_no_text_is_unauthentic_where_any_other_would_be(signed: dict[str, str]) -> None:
    with pytest.raises(Unauthentic):
        reader().read(signed, NO_TEXT)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"null",
        b"[]",
        b"3",
        b'"user.updated"',
        b"{}",
        b'{"type": "user.updated"}',
        b'{"type": "user.updated", "data": null}',
        b'{"type": "user.updated", "data": []}',
        b'{"type": 3, "data": {}}',
        b'{"type": null, "data": {}}',
        b'{"type": "", "data": {}}',
        b'{"type": "user.updated\\n", "data": {}}',
        b'{"object": "user", "type": "user.updated", "data": {"id": "user_1"}}',
        b'{"type": "user.updated", "data": {}}',
        b'{"type": "user.updated", "data": {"id": 7}}',
        b'{"type": "user.updated", "data": {"id": ""}}',
        b'{"type": "user.updated", "data": {"id": "user_\\u0000"}}',
        b'{"type": "user.updated", "data": {"id": "user_\\ud800"}}',
        b'{"type": "user.updated", "data": {"id": "user one"}}',
        b'{"type": "user.deleted", "data": {"id": ["user_1"]}}',
        b'{"type": "user.updated", "data": {"id": "' + b"u" * 300 + b'"}}',
        b'{"type": "user.updated", "data": {"id": NaN}}',
        b'{"type": "user.updated", "data": {"id": ' + b"9" * 5000 + b"}}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda body: repr(body)[:40],
)
def test_a_signed_body_that_is_no_event_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(NotAnEvent):
        read(body)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        " ",
        "whsec_",
        "whsec_====",
        "whsec_my-secret",
        "whsec_!!!!",
        "whsec_abcde",
        "whsec_ab cd",
        "whsec_æøå",
        "sk_test_1",
    ],
)
def test_a_secret_that_is_none_is_refused_at_the_start_and_never_shown(secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        reader(SECRET, secret)
    assert "clerk.webhook_secrets[1]" in caught.value.message
    assert secret.strip() == "" or secret.removeprefix("whsec_") == "" or secret not in caught.value.message


def test_no_secret_at_all_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError):
        ClerkWebhooks(())


@pytest.mark.parametrize("spelling", [SECRET + "\n", SECRET.removeprefix("whsec_"), SECRET.rstrip("=")])
def test_usual_spellings_of_a_secret_are_the_same_secret(spelling: str) -> None:
    body = event()
    assert reader(spelling).read(headers(body), body).user_id == USER


@pytest.mark.parametrize("value", [None, "1", True, 1.0, 0, -5, 10**20, [], {}])
def test_only_whole_numbers_are_moments(value: object) -> None:
    assert time_from_number(value) is None


header_text = st.text(max_size=60)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    given_headers=st.dictionaries(
        st.sampled_from(["svix-id", "SVIX-Timestamp", "svix-signature", "webhook-id", "webhook-signature", "x"]),
        header_text | st.just(str(int(NOW.timestamp()))),
        max_size=6,
    ),
    body=st.binary(max_size=200),
)
def test_no_request_gets_more_than_a_no(given_headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(Unauthentic):
        reader().read(given_headers, body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    body=st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["user.created", "user.updated", "user.deleted", "email.created"]) | json_values,
            "object": st.just("event") | json_values,
            "data": st.fixed_dictionaries({}, optional={"id": json_values, "updated_at": json_values}) | json_values,
            "timestamp": json_values,
            "instance_id": json_values,
        },
    )
)
def test_a_signed_body_is_an_event_or_not_and_never_a_crash(body: dict[str, object]) -> None:
    raw = json.dumps(body).encode()
    try:
        found = reader(instance_id=INSTANCE).read(headers(raw), raw)
    except NotAnEvent:
        return
    assert found.user_id is None or body["data"] == {"id": found.user_id, **_rest(body["data"])}


def _rest(data: object) -> dict[str, object]:
    assert isinstance(data, dict)
    return {key: value for key, value in data.items() if key != "id"}
