"""Any usual spelling is read; what is none is that field's problem, without its value."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.model.profile import PROFILE_FIELDS, Profile
from reconciler.supabase.reading.rows import Endless, profile_of

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
KATHMANDU = timezone(timedelta(hours=5, minutes=45))


def read(field: str, value: Any) -> Any:
    profile = profile_of("user_1", {field: value})
    assert profile.problems == ()
    return getattr(profile, field)


def problem(field: str, value: Any) -> str:
    profile = profile_of("user_1", {field: value})
    assert not profile.knows(field)
    (found,) = profile.problems
    assert found.field == field
    return found.message


@pytest.mark.parametrize(
    "value",
    [True, 1, "1", "t", "true", "TRUE", " yes ", "on", "y", Decimal(1), 1.0, AT, "2026-11-23 09:00:00", AT.timestamp()],
)
def test_yes_is_read(value: Any) -> None:
    assert read("email_verified", value) is True


@pytest.mark.parametrize("value", [False, 0, "0", "f", "False", "no", "off", "N", Decimal(0)])
def test_no_is_read(value: Any) -> None:
    assert read("email_verified", value) is False


@pytest.mark.parametrize("value", [None, "", "  "])
def test_neither_yes_nor_no_is_not_known(value: Any) -> None:
    assert read("email_verified", value) is None


@pytest.mark.parametrize(
    "value",
    [
        2,
        -1,
        "maybe",
        b"1",
        [True],
        {"a": 1},
        Decimal("NaN"),
        float("nan"),
        datetime(1, 1, 1, tzinfo=UTC),
        "1970-01-01",
        "9999-12-31",
    ],
)
def test_what_is_no_truth_is_a_problem(value: Any) -> None:
    assert problem("email_verified", value) == "email_verified is neither yes nor no"


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-23T09:00:00Z",
        "2026-11-23T09:00:00.000+00:00",
        "2026-11-23 09:00:00+00",
        "2026-11-23 14:45:00+05:45",
        " 2026-11-23 09:00:00 ",
        "20261123T090000",
        AT.replace(tzinfo=None),
        AT.astimezone(KATHMANDU),
        int(AT.timestamp()),
        int(AT.timestamp()) * 1000,
        int(AT.timestamp()) * 1_000_000,
        AT.timestamp(),
        Decimal(int(AT.timestamp())),
        str(int(AT.timestamp())),
        f"{int(AT.timestamp())}000",
        f"{int(AT.timestamp())}.000",
    ],
)
def test_times_are_read_as_utc(value: Any) -> None:
    found = read("updated_at", value)
    assert found == AT
    assert found.utcoffset() == timedelta(0)


def test_a_day_is_its_first_moment() -> None:
    assert read("updated_at", date(2026, 11, 23)) == read("updated_at", "2026-11-23") == AT.replace(hour=0)


def test_no_microsecond_is_lost() -> None:
    assert read("updated_at", "2026-11-23T09:00:00.123456Z") == AT.replace(microsecond=123456)
    assert read("updated_at", Decimal(1795421523417)).microsecond == 417_000


@pytest.mark.parametrize(
    "value",
    ["yesterday", "2026-13-01", "2026", b"2026-11-23", True, [1], Endless(), Decimal("Infinity"), 10**30, float("nan")],
)
def test_what_is_no_time_is_a_problem(value: Any) -> None:
    assert problem("updated_at", value) == "updated_at is no time"


def test_a_time_at_the_edge_of_the_calendar_ends_nothing() -> None:
    assert problem("updated_at", "0001-01-01T00:00:00+05:00") == "updated_at is no time"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (4520123456, "a number"),
        (Decimal("1.5"), "a number"),
        (2.5, "a number"),
        (True, "a yes or no"),
        (b"\xff\x00", "binary"),
        (memoryview(b"x"), "binary"),
        (["a"], "a list"),
        ({"a": 1}, "a JSON object"),
        (AT, "a time"),
        (Endless(), "a time"),
        (1j, "of type complex"),
    ],
)
@pytest.mark.parametrize("field", ["email", "phone", "first_name", "image_url", "locale", "note"])
def test_what_is_no_text_is_a_problem_that_does_not_show_it(field: str, value: Any, said: str) -> None:
    message = problem(field, value)
    assert message.startswith(f"{field} is {said}")
    assert "4520123456" not in message


def test_a_zero_character_is_a_problem() -> None:
    assert problem("first_name", "A\0da") == "first_name has a zero character in it"


def test_a_uuid_is_text() -> None:
    assert read("note", UUID(int=7)) == "00000000-0000-0000-0000-000000000007"


def test_an_email_with_a_blank_in_it_is_a_problem_and_one_with_blanks_around_it_is_not() -> None:
    assert problem("email", "ada lovelace@example.com") == "email has a blank in it"
    assert problem("email", "ada\u00a0lovelace@example.com") == "email has a blank in it"
    assert read("email", " ada@example.com\n") == " ada@example.com\n"


@pytest.mark.parametrize("value", ['{"a": {"b": 1}}', {"a": {"b": 1}}, ' {"a":{"b":1}} '])
def test_json_is_read_as_text_and_as_it_is(value: Any) -> None:
    assert profile_of("user_1", {"metadata": value}).value_at("metadata.a.b") == 1


@pytest.mark.parametrize("value", [None, "", " ", "null"])
def test_no_metadata_is_none(value: Any) -> None:
    assert read("metadata", value) is None


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "[1]",
        [1],
        '"a"',
        "7",
        7,
        b"{}",
        '{"a": NaN}',
        '{"a": 1e999}',
        {"a": float("inf")},
        {"a": AT},
        '{"a": "\\u0000"}',
        {"a": "\0"},
        '{"a": "\\ud800"}',
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_json_object_is_a_problem(value: Any) -> None:
    assert problem("metadata", value).startswith("metadata ")


@pytest.mark.parametrize("value", [None, "", " ", False, 0, "f", "false"])
def test_a_row_without_a_time_of_deletion_is_there(value: Any) -> None:
    profile = profile_of("user_1", {"deleted_at": value})
    assert (profile.deleted, profile.deleted_at, profile.problems) == (False, None, ())


@pytest.mark.parametrize(
    ("value", "at"), [(AT, AT), ("2026-11-23T09:00:00Z", AT), (int(AT.timestamp()), AT), (True, None), (1, None)]
)
def test_a_row_with_a_time_of_deletion_is_gone(value: Any, at: datetime | None) -> None:
    profile = profile_of("user_1", {"deleted_at": value})
    assert (profile.deleted, profile.deleted_at, profile.problems) == (True, at, ())


@pytest.mark.parametrize("never", ["9999-12-31", "9999-12-31T23:59:59Z", "1970-01-01 00:00:00", "0001-01-01T00:00:00Z"])
def test_a_time_of_deletion_that_means_none_deletes_no_one(never: str) -> None:
    found = profile_of("user_1", {"deleted_at": never})
    assert not found.deleted
    assert [p.field for p in found.problems] == ["deleted_at"]


@pytest.mark.parametrize(("status", "is_verified"), [("verified", True), (" Unverified", False), ("expired", False)])
def test_the_status_of_clerk_says_whether_an_email_is_verified(status: str, is_verified: bool) -> None:  # noqa: FBT001
    assert profile_of("user_1", {"email_verified": status}).email_verified is is_verified


@pytest.mark.parametrize("value", ["soon", Endless(), b"x", {"a": 1}])
def test_an_unreadable_time_of_deletion_neither_keeps_nor_releases_anybody(value: Any) -> None:
    assert problem("deleted_at", value) == "deleted_at is neither a time nor yes or no"
    assert profile_of("user_1", {"deleted_at": value}).deleted is False


def test_a_full_name_that_is_no_text_is_a_problem_of_both_names() -> None:
    profile = profile_of("user_1", {"full_name": 7})
    assert {p.field for p in profile.problems} == {"first_name", "last_name"}
    assert profile_of("user_1", {"full_name": 7, "first_name": "Ada"}).problems == ()


def test_a_first_name_that_is_no_text_is_not_replaced_by_the_full_name() -> None:
    profile = profile_of("user_1", {"full_name": "Ada Lovelace", "first_name": 7})
    assert (profile.first_name, profile.knows("first_name")) == (None, False)


def test_null_and_absent_are_two_things() -> None:
    profile = profile_of("user_1", {"phone": None})
    assert profile.knows("phone")
    assert not profile.knows("email")


ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.text(max_size=8), st.binary(max_size=8),
        st.datetimes(), st.datetimes(timezones=st.just(KATHMANDU)), st.dates(), st.times(), st.timedeltas(), st.uuids(),
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*PROFILE_FIELDS, "full_name"]), ANYTHING), st.text(min_size=1, max_size=5))
def test_property_no_value_of_any_type_ends_the_run(values: dict[str, Any], key: str) -> None:
    profile = profile_of(key, values)
    assert isinstance(profile, Profile)
    assert profile.clerk_user_id == key
    for field in ("updated_at", "deleted_at"):
        at = getattr(profile, field)
        assert at is None or at.utcoffset() == timedelta(0)
    profile.model_dump_json()
