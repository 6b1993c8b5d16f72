"""Clerk's Backend API: one user, whether a user exists, and all users by pages. Read-only and optional.

It confirms deletions and finds users that no webhook reported. Clerk's own SDK is not used: it fails a whole page for one
invalid user, does not retry 429 and has no cursor (version 7.0.0, tried 2026-11-23).
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import httpx

from reconciler.clerk.webhook import time_from_number
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import UNIQUE, ClerkUserId
from reconciler.core.model.profile import Problem, Profile
from reconciler.core.model.scalars import FIELDS, Scalars
from reconciler.errors import AccessError, ConfigError, PermanentError, TemporaryError
from reconciler.outbound.certificates import UNTRUSTED, UNTRUSTED_HINT, is_untrusted
from reconciler.outbound.databases.url import is_loopback
from reconciler.outbound.exchange import PACKED, USER_AGENT, Bounds, exchange
from reconciler.outbound.reading import MalformedError, decode_json
from reconciler.outbound.transport import BoundedTransport

API_VERSION: Final = "2026-05-12"
API_URL: Final = "https://api.clerk.com/v1"
PAGE: Final = 500
PAGES_MAX: Final = 20_000
REPLY_BYTES_MAX: Final = 16_777_216  # 32 KiB for each user of a page
CONNECTIONS: Final = 4
CALL_S: Final = 20.0
SINGLE_S: Final = 5.0  # of a call for which others wait
TRIES: Final = 5
SILENT_MAX: Final = 2  # of them without an answer in time
WAIT_MAX_S: Final = 30.0
WAIT_FIRST_S: Final = 0.5
RETRY_AFTER_MAX_S: Final = 3_600.0
_TEXTS: Final = tuple(name for name, field in FIELDS.items() if field.in_clerk and name not in UNIQUE)
"""Scalar fields that Clerk's user object has under our names; of emails and phones it has lists."""
CLERK_FIELDS: Final = frozenset({*UNIQUE, *_TEXTS, "email_verified", "image_url", "updated_at", "metadata"})

UNKNOWN_CODE: Final = "resource_not_found"
METADATA_DEPTH: Final = 50

_OK: Final = 200
_GONE: Final = 404
_TOO_MANY: Final = 429
_SERVER: Final = 500
_NO_CURSOR: Final = frozenset({400, 404, 422})


class ClerkUser(Scalars):
    """A user of Clerk. Email and phone are the primary ones or None, never the first of the list.

    `problems` are parts that could not be parsed: they are None here, and count as unknown.
    """

    id: ClerkUserId
    email_verified: bool = False
    image_url: str | None = None
    metadata: Mapping[str, Any] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    problems: tuple[Problem, ...] = ()

    def profile(self) -> Profile:
        """The user as a profile. Other fields than CLERK_FIELDS are unknown to Clerk."""
        return Profile(
            clerk_user_id=self.id,
            mapped=CLERK_FIELDS,
            problems=self.problems,
            **{name: getattr(self, name) for name in CLERK_FIELDS},
        )


@frozen
class UserPage:
    """The users of one page, and its problems: the index in the page or the user's id, and why."""

    users: tuple[ClerkUser, ...]
    problems: tuple[str, ...] = ()


# --- one user -----------------------------------------------------------------------------------------------------


def parse_user(raw: object) -> ClerkUser:
    """Parse Clerk's user object from a webhook or the API. ValueError only without a valid id."""
    if not isinstance(raw, Mapping):
        raise ValueError("it is not an object")  # noqa: TRY004  callers expect ValueError
    user_id = raw.get("id")
    if not isinstance(user_id, str) or not user_id or not user_id.isascii() or not user_id.isprintable():
        raise ValueError("it has no id")
    problems: list[Problem] = []
    email, entry = _primary(raw, "email_addresses", "primary_email_address_id", "email_address", problems, "email")
    phone, _ = _primary(raw, "phone_numbers", "primary_phone_number_id", "phone_number", problems, "phone")
    metadata = raw.get("public_metadata")
    if metadata is not None and (wrong := _wrong_with(metadata)):
        problems.append(Problem(field="metadata", message=f"public_metadata {wrong}"))
        metadata = None
    elif not _is_storable(metadata):
        problems.append(Problem(field="metadata", message="public_metadata holds characters that are no text"))
        metadata = None
    return ClerkUser(
        id=ClerkUserId(user_id),
        email=email,
        email_verified=email is not None and _verified(entry),
        phone=phone,
        **{name: _text(raw, name, problems) for name in _TEXTS},
        image_url=_text(raw, "image_url", problems),
        metadata=metadata,
        created_at=time_from_number(raw.get("created_at")),
        updated_at=time_from_number(raw.get("updated_at")),
        problems=tuple(problems),
    )


def _wrong_with(metadata: object) -> str:
    """Why a database could not store this as a JSON object; empty if it can."""
    if not isinstance(metadata, dict):
        return "is not an object"
    if _is_deeper(metadata, METADATA_DEPTH):
        return f"is nested more than {METADATA_DEPTH} deep"
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:  # an infinite number, or half a surrogate pair
        return "contains values that are not JSON"
    return "contains a zero character" if "\\u0000" in text else ""


def _is_deeper(value: object, levels: int) -> bool:
    if isinstance(value, Mapping):
        return levels == 0 or any(_is_deeper(member, levels - 1) for member in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_is_deeper(member, levels - 1) for member in value)
    return False


def _primary(
    raw: Mapping[str, Any], entries: str, primary: str, value: str, problems: list[Problem], ours: str
) -> tuple[str | None, Mapping[str, Any]]:
    """The primary entry and its value. Without a primary id there is none, even if there are entries."""
    wanted, listed = raw.get(primary), raw.get(entries)
    if wanted is None:
        return None, {}
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, Mapping) and entry.get("id") == wanted:
            return _text(entry, value, problems, ours=ours), entry
    problems.append(Problem(field=ours, message=f"{primary} names none of {entries}"))
    return None, {}


def _verified(entry: Mapping[str, Any]) -> bool:
    verification = entry.get("verification")
    return isinstance(verification, Mapping) and verification.get("status") == "verified"


def _text(raw: Mapping[str, Any], key: str, problems: list[Problem], *, ours: str = "") -> str | None:
    """The text at a key, or None. A text that a database could not store is a problem."""
    value = raw.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        problems.append(Problem(field=ours or key, message=f"{key} is not text"))
        return None
    if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        problems.append(Problem(field=ours or key, message=f"{key} holds characters that are no text"))
        return None
    return value


def _is_storable(metadata: object) -> bool:
    """Whether a database can store this."""
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
        text.encode()
        return "\\u0000" not in text or "\x00" not in _letters(metadata)
    except (ValueError, RecursionError):
        return False


def _letters(value: object) -> str:
    """All text in a JSON value, including keys."""
    if isinstance(value, Mapping):
        return "".join(f"{key}{_letters(each)}" for key, each in value.items())
    if isinstance(value, list):
        return "".join(_letters(each) for each in value)
    return value if isinstance(value, str) else ""


# --- the API ------------------------------------------------------------------------------------------------------


class ClerkUsers:
    """Reads users from Clerk. Thread-safe. `now` is needed for a Retry-After that is a date.

    `repeats`: a call that fails for the moment is made TRIES times. Without, it is left to the caller, within seconds.
    """

    def __init__(
        self,
        secret_key: str,
        *,
        api_url: str = API_URL,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] | None = None,
        timeout_s: float = CALL_S,
        repeats: bool = True,
    ) -> None:
        if not secret_key.strip().startswith("sk_") or not secret_key.isascii():
            raise ConfigError(
                "clerk.secret_key is not a secret key of Clerk, which begins with sk_live_ or sk_test_",
                hint="copy it from Clerk's dashboard, API keys",
            )
        self._sleep = sleep
        self._now = now
        self._tries = TRIES if repeats else 1
        self._bounds = Bounds(timeout_s, REPLY_BYTES_MAX)
        self._url = api_url.rstrip("/")
        self._headers = {
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Authorization": f"Bearer {secret_key.strip()}",
            "Clerk-API-Version": API_VERSION,
            "Accept-Encoding": PACKED,
        }
        self._timeouts = {"timeout": httpx.Timeout(timeout_s).as_dict()}
        self._transport = BoundedTransport(
            api_url,
            ssl_context=_trusted(api_url),
            connections=CONNECTIONS,
            proxies=not is_loopback(urlsplit(api_url).hostname or "-"),
        )

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, user: ClerkUserId) -> ClerkUser | None:
        """The user as Clerk has them now, or None if Clerk's own error says that there is no such user.

        TemporaryError; AccessError for the key; PermanentError for an invalid answer.
        """
        response = self._ask(f"users/{quote(user, safe='')}")
        if response.status_code == _GONE:
            if not _says_unknown(_json(response)):
                raise PermanentError(
                    f"the answer for {user} is a 404 that is not from Clerk, so it proves no deletion",
                    hint="check clerk.api_url",
                )
            return None
        try:
            found = parse_user(_json(response))
        except ValueError as error:
            raise PermanentError(
                f"Clerk's answer for {user} is not a user: {error}", hint="check clerk.api_url"
            ) from error
        if found.id != user:
            raise PermanentError(f"Clerk was asked for {user} and answered with {found.id}", hint="check clerk.api_url")
        return found

    def exists(self, user: ClerkUserId) -> bool:
        """Whether the key's instance of Clerk has this user. Errors as of `get`."""
        return self.get(user) is not None

    def pages(self, *, limit: int = PAGE) -> Iterator[UserPage]:
        """All users, oldest first, in pages of `limit`; each user once. Not a snapshot: absence here proves nothing.

        Duplicates are detected against the previous page only, since a cursor never leads back further.
        """
        trail: list[str] = []
        passed: set[str] = set()  # the last user of each page, to detect an endless list
        for _ in range(PAGES_MAX):
            before = frozenset(trail)
            listed = self._read_page(limit, trail)
            page, ids = _page(listed, before)
            yield page
            if len(listed) < limit:
                return
            if not ids or ids[-1] in passed:
                raise PermanentError(
                    "Clerk's list of users goes nowhere: a full page has no user to go on from",
                    hint="check clerk.api_url",
                )
            passed.add(ids[-1])
            trail = ids
        raise PermanentError(f"Clerk's list of users has no end: {PAGES_MAX:,} full pages", hint="check clerk.api_url")

    def _read_page(self, limit: int, trail: list[str]) -> list[Any]:
        """Read the page after the last user of `trail` who still is one: the cursor may have been deleted meanwhile."""
        while True:
            parameters: dict[str, str | int] = {"limit": limit, "order_by": "+created_at"}
            if trail:
                parameters["starting_after"] = trail[-1]
            response = self._ask("users", parameters, or_else=_NO_CURSOR if len(trail) > 1 else frozenset())
            if response.status_code != _OK and len(trail) > 1:
                trail.pop()
                continue
            listed = _json(response) if response.status_code == _OK else None
            if not isinstance(listed, list):
                raise PermanentError("Clerk's list of users is not a list", hint="check clerk.api_url")
            return listed

    def _request(self, path: str, parameters: Mapping[str, str | int] | None) -> httpx.Request:
        url, headers = f"{self._url}/{path}", self._headers
        return httpx.Request("GET", url, params=parameters, headers=headers, extensions=self._timeouts)

    def _ask(
        self, path: str, parameters: Mapping[str, str | int] | None = None, *, or_else: frozenset[int] = frozenset()
    ) -> httpx.Response:
        """The response: 200, 404 or one of `or_else`; repeats what fails for the moment."""
        wait_s, silent = WAIT_FIRST_S, 0
        for tries_left in reversed(range(self._tries)):
            try:
                response = exchange(self._transport, self._request(path, parameters), self._bounds)
            except httpx.HTTPError as error:
                silent += isinstance(error, httpx.TimeoutException)
                untrusted = is_untrusted(error)
                why = UNTRUSTED if untrusted else type(error).__name__
                failure = TemporaryError(
                    f"Clerk's API returned no complete answer: {why}",
                    hint=UNTRUSTED_HINT
                    if untrusted
                    else "check the network and clerk.api_url, then try again; what is done already is not done twice",
                )
            else:
                if response.status_code < _SERVER and response.status_code != _TOO_MANY:
                    return _usable(response, or_else)
                asked = self._retry_after_s(response)
                failure = TemporaryError(
                    f"Clerk's API answered {response.status_code}",
                    hint=_later(response.status_code),
                    retry_after_s=asked,
                )
            asked_s = failure.retry_after_s
            if not tries_left or silent >= SILENT_MAX or (asked_s is not None and asked_s > WAIT_MAX_S):
                raise failure
            self._sleep(min(WAIT_MAX_S, max(asked_s or 0.0, wait_s)))
            wait_s *= 2
        raise AssertionError("unreachable: the last try raises")

    def _retry_after_s(self, response: httpx.Response) -> float | None:
        """The seconds of Retry-After, given as seconds or as a date."""
        text = response.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return min(float(text), RETRY_AFTER_MAX_S)
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        if self._now is None or at.tzinfo is None:
            return None
        return min(max(0.0, (at - self._now()).total_seconds()), RETRY_AFTER_MAX_S)


def _later(status: int) -> str:
    if status == _TOO_MANY:
        return "other programs use the same secret key: try again in a minute; what is done already is not done twice"
    return "see status.clerk.com, and try again later; what is done already is not done twice"


def _trusted(address: str) -> ssl.SSLContext:
    """The trusted certificates; none for plain http, since loading those of the machine is slow."""
    if address.lower().startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()


def _usable(response: httpx.Response, or_else: frozenset[int]) -> httpx.Response:
    status = response.status_code
    if status in {_OK, _GONE} or status in or_else:
        return response
    if status in {401, 403}:
        raise AccessError(f"Clerk's API refuses the key ({status})", hint="check clerk.secret_key and its instance")
    raise PermanentError(f"Clerk's API answered {status}", hint="check clerk.api_url")


def _json(response: httpx.Response) -> Any:
    try:
        return decode_json(response.content, with_surrogates=True)
    except MalformedError as error:
        raise PermanentError(
            "Clerk's API answered with something that is not JSON", hint="check clerk.api_url"
        ) from error


def _says_unknown(body: object) -> bool:
    """Whether this is Clerk's error for an unknown user. A 404 alone may come from a proxy or another API."""
    errors = body.get("errors") if isinstance(body, Mapping) else None
    return isinstance(errors, list) and any(
        isinstance(error, Mapping) and error.get("code") == UNKNOWN_CODE for error in errors
    )


def _page(listed: list[Any], before: frozenset[str]) -> tuple[UserPage, list[str]]:
    """The page's users that were not on the previous page, its problems, and all its ids in order."""
    seen: set[str] = set(before)
    users: list[ClerkUser] = []
    problems: list[str] = []
    ids: list[str] = []
    for place, raw in enumerate(listed):
        try:
            user = parse_user(raw)
        except ValueError as error:
            problems.append(f"user {place} of the page can't be read: {error}")
            continue
        ids.append(user.id)
        problems += [f"{user.id}: {problem.field}: {problem.message}" for problem in user.problems]
        if user.id not in seen:
            seen.add(user.id)
            users.append(user)
    return UserPage(tuple(users), tuple(problems)), ids
