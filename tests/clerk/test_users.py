"""Clerk's Backend API as we call it, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from reconciler.clerk.users import ClerkUsers, parse_user
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.errors import AccessError, ConfigError, PermanentError, TemporaryError
from tests.clerk.backend import KEY, Backend, serving
from tests.clerk.sender import NOW, UPDATED_MS, USER, user
from tests.outbound.peers import HEAD, drip, peer


@pytest.fixture
def backend() -> Backend:
    return Backend(users=[user(f"user_{n:02}") for n in range(25)])


@pytest.fixture
def waited() -> list[float]:
    return []


@pytest.fixture
def clerk(backend: Backend, waited: list[float]) -> Iterator[ClerkUsers]:
    with serving(backend) as url, ClerkUsers(KEY, api_url=url, sleep=waited.append, now=lambda: NOW) as users:
        yield users


def test_a_user_is_read_with_their_primary_addresses_only(clerk: ClerkUsers, backend: Backend) -> None:
    found = clerk.get(ClerkUserId("user_03"))
    assert found is not None
    assert (found.email, found.email_verified, found.phone) == ("tove@tove.example", True, "+4531415926")
    assert (found.first_name, found.last_name, found.locale) == ("Tove", "Ærø", "da-DK")
    assert found.metadata == {"brand": "acme"}
    assert found.updated_at == datetime.fromtimestamp(UPDATED_MS / 1000, UTC)
    assert found.problems == ()
    assert backend.versions == {"2026-05-12"}


def test_who_is_gone_is_none(clerk: ClerkUsers) -> None:
    assert clerk.get(ClerkUserId("user_absent")) is None
    assert not clerk.exists(ClerkUserId("user_absent"))
    assert clerk.exists(ClerkUserId("user_00"))


def test_an_id_can_not_lead_elsewhere(clerk: ClerkUsers, backend: Backend) -> None:
    with pytest.raises(PermanentError, match="not JSON"):
        clerk.get(ClerkUserId("../users?limit=1"))
    assert all(path != "/v1/users" for path, _ in backend.asked)


def test_all_users_come_once_in_pages_by_cursor(clerk: ClerkUsers, backend: Backend) -> None:
    pages = list(clerk.pages(limit=10))
    assert [u.id for page in pages for u in page.users] == [f"user_{n:02}" for n in range(25)]
    assert [len(page.users) for page in pages] == [10, 10, 5]
    assert [q.get("starting_after") for _, q in backend.asked] == [None, "user_09", "user_19"]
    assert {q["order_by"] for _, q in backend.asked} == {"+created_at"}


def test_a_page_is_as_large_as_clerk_allows(clerk: ClerkUsers, backend: Backend) -> None:
    list(clerk.pages())
    assert backend.asked[0][1]["limit"] == "500"


def test_a_full_last_page_ends_the_list(clerk: ClerkUsers, backend: Backend) -> None:
    del backend.users[20:]
    assert [len(page.users) for page in clerk.pages(limit=10)] == [10, 10, 0]


def test_a_cursor_who_was_deleted_meanwhile_ends_nothing(clerk: ClerkUsers, backend: Backend) -> None:
    backend.deletes_after_page = ["user_09"]
    ids = [u.id for page in clerk.pages(limit=10) for u in page.users]
    assert ids == [f"user_{n:02}" for n in range(25)]


@pytest.mark.parametrize("odd", [None, 7, [], {}, {"id": None}, {"id": "user_\n"}, {"id": ""}])
def test_one_odd_user_never_fails_a_page_and_is_reported(clerk: ClerkUsers, backend: Backend, odd: Any) -> None:
    backend.users[4] = odd
    (page,) = clerk.pages()
    assert len(page.users) == 24
    assert len(page.problems) == 1
    assert "4 of the page" in page.problems[0]


def test_an_odd_part_is_unknown_and_the_rest_is_read(clerk: ClerkUsers, backend: Backend) -> None:
    backend.users = [user(first_name=7, public_metadata="x", email_addresses="y", last_name="a\x00b")]
    (page,) = clerk.pages()
    (found,) = page.users
    assert {p.field for p in found.problems} == {"first_name", "metadata", "email", "last_name"}
    assert found.phone == "+4531415926"
    assert len(page.problems) == 4
    assert not found.profile().knows("email")


def test_429_waits_as_long_as_clerk_says(clerk: ClerkUsers, backend: Backend, waited: list[float]) -> None:
    later = format_datetime(NOW + timedelta(seconds=9), usegmt=True)
    backend.troubles = [(429, {"retry-after": "3"}), (429, {"retry-after": later})]
    assert clerk.exists(ClerkUserId("user_00"))
    assert waited == [3, 9]


def test_429_that_asks_for_no_pause_waits_longer_and_longer(
    clerk: ClerkUsers, backend: Backend, waited: list[float]
) -> None:
    past = format_datetime(NOW - timedelta(seconds=9), usegmt=True)
    backend.troubles = [(429, {"retry-after": asked}) for asked in ("0", "-1", past)]
    assert clerk.exists(ClerkUserId("user_00"))
    assert waited == [0.5, 1, 2]


def test_a_wait_that_is_too_long_is_left_to_the_caller(
    clerk: ClerkUsers, backend: Backend, waited: list[float]
) -> None:
    backend.troubles = [(429, {"retry-after": "3600"})]
    with pytest.raises(TemporaryError) as caught:
        clerk.get(ClerkUserId("user_00"))
    assert caught.value.retry_after_s == 3600
    assert waited == []


def test_a_server_that_fails_is_asked_again_with_longer_and_longer_waits(
    clerk: ClerkUsers, backend: Backend, waited: list[float]
) -> None:
    backend.troubles = [(500, {}), (503, {"retry-after": "soon"}), (502, {})]
    assert clerk.exists(ClerkUserId("user_00"))
    assert waited == [0.5, 1, 2]


def test_where_others_wait_for_the_answer_a_call_is_made_once(backend: Backend, waited: list[float]) -> None:
    backend.troubles = [(503, {})]
    with (
        serving(backend) as url,
        ClerkUsers(KEY, api_url=url, sleep=waited.append, repeats=False) as users,
        pytest.raises(TemporaryError),
    ):
        users.get(ClerkUserId("user_ada"))
    assert (len(backend.asked), waited) == (1, [])


def test_a_server_that_keeps_failing_is_a_temporary_error(
    clerk: ClerkUsers, backend: Backend, waited: list[float]
) -> None:
    backend.troubles = [(500, {})] * 20
    with pytest.raises(TemporaryError, match="answered 500") as refused:
        list(clerk.pages())
    assert "try again later" in refused.value.hint
    assert len(backend.asked) == 5
    assert len(waited) == 4


def test_a_server_that_is_silent_is_asked_twice(waited: list[float]) -> None:
    with (
        peer(drip(HEAD, pause_s=0.02)) as url,
        ClerkUsers(KEY, api_url=url, sleep=waited.append, timeout_s=0.1) as silent,
        pytest.raises(TemporaryError, match="ReadTimeout"),
    ):
        silent.get(ClerkUserId("user_ada"))
    assert waited == [0.5]


def test_a_server_that_is_not_there_is_a_temporary_error(waited: list[float]) -> None:
    with ClerkUsers(KEY, api_url="http://127.0.0.1:9/v1", sleep=waited.append) as down, pytest.raises(TemporaryError):
        down.get(ClerkUserId(USER))


def test_a_wrong_key_is_an_access_error(backend: Backend) -> None:
    with (
        serving(backend) as url,
        ClerkUsers("sk_test_other", api_url=url) as users,
        pytest.raises(AccessError) as caught,
    ):
        users.get(ClerkUserId("user_00"))
    assert "sk_test" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 302, 418])
def test_an_answer_that_makes_no_sense_is_permanent(clerk: ClerkUsers, backend: Backend, status: int) -> None:
    backend.troubles = [(status, {"location": "http://127.0.0.1:9/"})]
    with pytest.raises(PermanentError):
        clerk.get(ClerkUserId("user_00"))


@pytest.mark.parametrize("listed", [{}, None, "x"])
def test_a_list_that_is_none_is_permanent(clerk: ClerkUsers, backend: Backend, listed: Any) -> None:
    class Sliced:
        def __iter__(self) -> Iterator[Any]:
            return iter(())

        def __getitem__(self, _: slice) -> Any:
            return listed

    backend.users = Sliced()  # type: ignore[assignment]
    with pytest.raises(PermanentError):
        list(clerk.pages())


@pytest.mark.parametrize("key", ["", "pk_test_1", "whsec_abc", "sk_æ"])
def test_a_key_that_is_none_is_refused_at_the_start(key: str) -> None:
    with pytest.raises(ConfigError):
        ClerkUsers(key)


@pytest.mark.parametrize(
    ("changes", "email", "verified"),
    [
        ({"primary_email_address_id": None}, None, False),
        ({"primary_email_address_id": None, "email_addresses": []}, None, False),
        ({"primary_email_address_id": "idn_old"}, "old@tove.example", True),
        (
            {"email_addresses": [{"id": "idn_main", "email_address": "t@t.example", "verification": None}]},
            "t@t.example",
            False,
        ),
        (
            {
                "email_addresses": [
                    {"id": "idn_main", "email_address": "t@t.example", "verification": {"status": "unverified"}}
                ]
            },
            "t@t.example",
            False,
        ),
        (
            {"email_addresses": [{"email_address": "no-id@t.example", "verification": {"status": "verified"}}]},
            None,
            False,
        ),
    ],
)
def test_only_the_primary_address_counts_and_only_its_own_proof(
    changes: dict[str, Any], email: str | None, *, verified: bool
) -> None:
    found = parse_user(user(**changes))
    assert (found.email, found.email_verified) == (email, verified)


def test_a_user_is_a_profile_in_the_cores_words() -> None:
    profile = parse_user(user()).profile()
    assert isinstance(profile, Profile)
    assert profile.knows("email")
    assert not profile.knows("note")
    assert not profile.knows("deleted_at")
    assert (profile.email, profile.email_verified, profile.image_url) == (
        "tove@tove.example",
        True,
        "https://img.example/tove.png",
    )


@pytest.mark.parametrize(
    "metadata",
    ['{"a": "\\u0000"}', '{"a": "\\ud800"}', '{"a": NaN}', '{"a": 1e999}', "[1]", '{"a":' * 60 + "1" + "}" * 60],
)
def test_metadata_that_no_database_could_hold_is_a_problem_of_that_field(metadata: str) -> None:
    found = parse_user(user(public_metadata=json.loads(metadata)))
    assert [problem.field for problem in found.problems] == ["metadata"]
    assert (found.metadata, found.first_name) == (None, "Tove")
