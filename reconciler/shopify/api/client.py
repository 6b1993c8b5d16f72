"""Sends documents to one shop: the only module that speaks HTTP with Shopify's Admin API.

A `Reply` is a success: its data is complete except for the fields that the app may not read (`denied`). Everything else
raises one of our errors, see `failures.py`. The module handles documents, tokens and points, not customers.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from reconciler.core.model.backoff import delay_s, fraction_of
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ShopDomain
from reconciler.errors import AccessError, AnswerLost, PartUnreadable, ReconcilerError, TemporaryError, Throttled
from reconciler.outbound.addresses import Resolve, addresses_of
from reconciler.outbound.databases.url import is_loopback
from reconciler.outbound.exchange import PACKED, USER_AGENT, Bounds, exchange
from reconciler.outbound.outage import Outage
from reconciler.outbound.reading import MalformedError, decode_json
from reconciler.outbound.transport import BoundedTransport
from reconciler.shopify.api import failures
from reconciler.shopify.api.auth import GrantRefused, TokenSource
from reconciler.shopify.api.connections import ConnectionPool
from reconciler.shopify.api.document import IDENTITY, Document, document, with_shop_id
from reconciler.shopify.api.failures import Path, Sent
from reconciler.shopify.api.pace import Lane, Pace, Reservation, Status
from reconciler.shopify.api.result_urls import check_address
from reconciler.shopify.api.shapes import JSON_BYTES_MAX, Numbered, ShopIdReply, as_shape

CONNECTIONS: Final = 4
CONNECTIONS_ALLOWED: Final = range(2, 6)  # more connections measured slower
TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
TIMEOUTS: Final = {"timeout": TIMEOUT.as_dict()}
HEADERS: Final = {
    "User-Agent": USER_AGENT,
    "Accept": "application/json",
    "Accept-Encoding": PACKED,
    "Accept-Language": "en",  # some refusals have no code and are identified by their message
}
JSON_HEADERS: Final = {**HEADERS, "Content-Type": "application/json"}
STORAGE_HEADERS: Final = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
CALL: Final = Bounds(40.0, JSON_BYTES_MAX)
POINTS_MAX: Final = 10_000_000.0  # bound for points in a reply: the largest known bucket holds 40,000
VERSION_LETTERS_MAX: Final = 20
WARNED_MAX: Final = 10
SENDS_MAX: Final = 6  # attempts of one call that is throttled each time
BUSY_S: Final = 2.0  # wait after HTTP 429 without Retry-After
BUSY_MIN_S: Final = 1.0  # minimum wait; doubles with each attempt, less a jitter of up to a half
BUSY_MAX_S: Final = 30.0  # total wait of one call after 429; a longer Retry-After fails immediately
OUTAGE_FIRST_PAUSE_S: Final = 0.5  # after the first failure of a call; doubles with each, less a jitter of up to a half
OUTAGE_PAUSE_MAX_S: Final = 4.0
OUTAGE_SENDS_MAX: Final = 6
TOKEN_PATH: Final = "/admin/oauth/access_token"  # noqa: S105  a path
TOKEN_EXCHANGE: Final = Document("access_token", "query", "", 0)
"""Names the token endpoint in messages. Repeating a request to it is harmless, so its failures are those of a query."""
SHOP_ID: Final = document("shop_id")
"""Needs no scope, so it tells whether the shop refuses one call or every call."""
SPAN: Final = "customer_parity_span"  # in a response's extensions: when the call left and when the response was here
_Shape = TypeVar("_Shape")


@frozen
class Reply:
    """The reply to a document. `denied`: paths that the app may not read, with the access that each needs.

    A null at such a path is an unknown value. `requested` and `spent` are the points that Shopify counted, None if the reply
    does not state them. `asked_s` and `answered_s` are monotonic times at which the call left and the reply was here;
    `server_time` is between them.
    """

    sent: Sent
    data: Mapping[str, Any]
    denied: Mapping[Path, str]
    requested: float | None
    spent: float | None
    api_version: str
    server_time: datetime | None
    asked_s: float
    answered_s: float

    def as_shape(self, shape: type[_Shape]) -> _Shape:
        """The data as this shape. TemporaryError, or AnswerLost after a write, if it does not fit."""
        return self.read(self.data, shape)

    def payload(self, shape: type[_Shape]) -> _Shape:
        """The payload of the mutation as this shape. Errors as of `shaped`."""
        return self.read(next(iter(self.data.values()), None), shape)

    def read(self, value: object, shape: type[_Shape]) -> _Shape:
        """Any part of the data as this shape. Errors as of `shaped`."""
        try:
            return as_shape(value, shape)
        except MalformedError as error:
            raise self.sent.malformed_answer(error) from error


class ShopClient:
    """The client of one shop: its connections, token and pace. Thread-safe; close it after use.

    `transport` replaces httpx's sockets, for tests. `resolve` returns a host's addresses. `check_shop` receives the gid of
    the shop that answers, before any of its data is used, and raises if it is another shop. The first query asks for the gid
    as well; a first mutation is preceded by a query of one point.

    `outage_s`: for so many seconds after its first failure, a call is sent again: a query, or a mutation that was certainly
    not executed. So a moment's failure does not end the scan of a large shop. 0 leaves it to the caller.
    """

    def __init__(
        self,
        shop: ShopDomain,
        *,
        auth: TokenSource,
        api_version: str,
        admin_url: str | None = None,
        ssl_context: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
        on_warning: Callable[[str], None] | None = None,
        pace: Pace | None = None,
        connections: int = CONNECTIONS,
        transport: httpx.BaseTransport | None = None,
        resolve: Resolve = addresses_of,
        check_shop: Callable[[str], None] | None = None,
        outage_s: float = 0.0,
    ) -> None:
        if connections not in CONNECTIONS_ALLOWED:
            raise ValueError(f"connections must be 2 to 5, not {connections}")
        self.shop = shop
        self.pace = pace or Pace()
        self.connections = connections
        self._auth = auth
        self._api_version = api_version
        self._warn = on_warning or (lambda _message: None)
        self._warned: set[str] = set()
        self._points: dict[str, float] = {}
        self._lock = threading.Lock()
        self._url = admin_url or f"https://{shop}"
        self._token_address = httpx.URL(f"{self._url.rstrip('/')}{TOKEN_PATH}")
        self._address = httpx.URL(f"{self._url.rstrip('/')}/admin/api/{api_version}/graphql.json")
        self._ssl = ssl_context
        self._transport = transport
        self._resolve = resolve
        self._check_shop = check_shop
        self._outage = Outage(outage_s, apart_s=outage_s, clock=self.pace.now_s)  # one for each document
        self._checked: SecretStr | None = None  # the token by which the shop was checked: a token is of one shop only
        self._connections = ConnectionPool(self._open_connection, connections)

    def _open_connection(self) -> httpx.BaseTransport:
        return self._transport or BoundedTransport(
            self._url, ssl_context=self._tls_context(self._url), connections=1, proxies=not self._is_local
        )

    @property
    def _is_local(self) -> bool:
        """Whether the shop is on this machine, as a simulated one is."""
        return is_loopback(urlsplit(self._url).hostname or "-")

    def storage(self, address: str) -> httpx.BaseTransport:
        """A transport to the files of bulk operations, which are on a third party's storage. Send STORAGE_HEADERS.

        PermanentError for an address that may not hold files of this shop.
        """
        local = check_address(self.shop, address, shop_is_local=self._is_local)
        return self._transport or BoundedTransport(
            address,
            ssl_context=self._tls_context(address),
            connections=1,
            public_only=not local,
            proxies=not local,
            resolve=self._resolve,
        )

    def _tls_context(self, address: str) -> ssl.SSLContext:
        """The TLS context. For plain HTTP an empty one, as loading the machine's certificates is slow."""
        if address.lower().startswith("http://"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._ssl is None or callable(self._ssl):
            self._ssl = (self._ssl or ssl.create_default_context)()
        return self._ssl

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def gid(self) -> str:
        """The gid of the shop that answers, for a client without `check_shop`."""
        return self.run(SHOP_ID, lane="nudge").as_shape(ShopIdReply).shop.id

    def restore_rate(self) -> float:
        """Points a second that the shop restores, from the last reply (100 before the first)."""
        return self.pace.restore_rate

    def run(
        self,
        document: Document,
        variables: Mapping[str, Any] | None = None,
        *,
        lane: Lane = "scan",
        points: float | None = None,
    ) -> Reply:
        """Send a document when the bucket allows and return the reply. `points`: its requested cost, if known.

        It is sent again only if that does no harm: after THROTTLED and HTTP 429, with a wait, once after a 401, and for
        `outage_s` while the shop fails.
        """
        for failed in range(OUTAGE_SENDS_MAX):
            asked_s = self.pace.now_s()
            try:
                reply = self._run(document, variables, lane, points)
            except (AnswerLost, PartUnreadable, Throttled):
                raise
            except TemporaryError as error:
                pause_s = max(error.retry_after_s or 0.0, self._outage_pause_s(failed))
                again = self._outage.allows(pause_s, call=document.name, since_s=asked_s)
                if not again or failed + 1 == OUTAGE_SENDS_MAX:
                    raise
                self.pace.wait(pause_s)
            else:
                self._outage.note_answer(document.name)
                return reply
        raise AssertionError("the last attempt returns or raises")

    def _outage_pause_s(self, failed: int) -> float:
        jitter = fraction_of(self.shop, failed, os.getpid())
        return delay_s(failed + 1, jitter, base_s=OUTAGE_FIRST_PAUSE_S, cap_s=OUTAGE_PAUSE_MAX_S)

    def _run(self, document: Document, variables: Mapping[str, Any] | None, lane: Lane, points: float | None) -> Reply:
        turn: int | None = None
        renewed = False
        busy_s = 0.0
        throttled: Throttled | None = None
        for attempt in range(SENDS_MAX):
            token = self._auth.token(self._exchange)
            asking = self._must_check_shop(document, token, lane)
            sent = Sent(self.shop, with_shop_id(document) if asking else document)
            asked = self.points_of(sent.document) if points is None else points + asking
            reservation = self.pace.reserve(asked, lane, turn=turn)
            turn = reservation.turn
            response = self._post(sent, variables, token, reservation)
            if response.status_code == httpx.codes.UNAUTHORIZED and not renewed and self._auth.report_refused(token):
                self.pace.settle(reservation, spent=0, status=None)
                renewed = True
                continue
            if (wait_s := self._retry_429_s(response, attempt)) is not None and busy_s + wait_s <= BUSY_MAX_S:
                busy_s += wait_s
                self.pace.settle(reservation, spent=0, status=None)
                self.pace.pause(wait_s)
                throttled = Throttled(
                    f"{self.shop}: {document.operation}: HTTP 429 {SENDS_MAX} times in a row", retry_after_s=wait_s
                )
                continue
            try:
                outcome = self._read(sent, response, reservation)
            except AccessError as error:
                raise (self._error_of_call(sent, response, error) or error) from None
            if isinstance(outcome, Reply):
                return self._check_shop_of(outcome, token) if asking or document == SHOP_ID else outcome
            throttled = outcome
        raise throttled or AccessError(f"{self.shop} refuses every token", hint=failures.ACCESS[401][1])

    def _retry_429_s(self, response: httpx.Response, attempt: int) -> float | None:
        """The seconds to wait after HTTP 429, longer with each attempt; None for any other status."""
        if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
            return None
        asked_s = failures.retry_after_s(response)
        if asked_s is None:
            asked_s = BUSY_S
        return max(asked_s, delay_s(attempt + 1, fraction_of(self.shop, attempt, os.getpid()), base_s=BUSY_MIN_S))

    def _must_check_shop(self, document: Document, token: SecretStr, lane: Lane) -> bool:
        """Whether this query must ask for the shop's gid as well. Before a mutation, query the gid first."""
        if self._check_shop is None or token == self._checked or document == SHOP_ID:
            return False
        if document.kind == "mutation":
            self.run(SHOP_ID, lane=lane)
            return False
        return True

    def _check_shop_of(self, reply: Reply, token: SecretStr) -> Reply:
        """Check the gid in the reply, and return the reply without the cost of asking for it."""
        if self._check_shop is None:
            return reply
        is_own = reply.sent.document == SHOP_ID
        self._check_shop(reply.read(reply.data.get("shop" if is_own else IDENTITY), Numbered).id)
        self._checked = token
        if is_own or reply.requested is None:
            return reply
        return replace(reply, requested=reply.requested - 1, spent=None if reply.spent is None else reply.spent - 1)

    def _post(
        self, sent: Sent, variables: Mapping[str, Any] | None, token: SecretStr, reservation: Reservation
    ) -> httpx.Response:
        try:
            with self._connections.lend() as http:
                headers = JSON_HEADERS | {"X-Shopify-Access-Token": token.get_secret_value()}
                content = json.dumps({"query": sent.document.text, "variables": variables or {}})
                request = httpx.Request("POST", self._address, headers=headers, content=content, extensions=TIMEOUTS)
                asked_s = time.monotonic()
                response = exchange(http, request, CALL)
                response.extensions[SPAN] = (asked_s, time.monotonic())
                return response
        except httpx.RequestError as error:
            failure = failures.of_transport(sent, error)
            unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            self.pace.settle(reservation, spent=0 if unsent else None, status=None)
            raise failure from None  # httpx's error contains the request with the token
        except BaseException:
            self.pace.settle(reservation, spent=None, status=None)
            raise

    def _read(self, sent: Sent, response: httpx.Response, reservation: Reservation) -> Reply | Throttled:
        """Read the reply, or Throttled if the call was not executed. Everything else is raised."""
        malformed: MalformedError | None = None
        body: Mapping[str, Any] = {}
        try:
            body = _object(response) if response.status_code == httpx.codes.OK else {}
        except MalformedError as error:
            malformed = error
        errors = failures.errors_of(body)
        throttled = failures.is_throttled(errors)
        requested, spent, status = _cost(body)
        if requested is not None:
            self._learn(sent.document, requested)
        self.pace.settle(reservation, spent=0 if throttled else spent, status=status, throttled=throttled)
        failure = failures.of_status(sent, response)
        if failure is not None:
            raise failure
        version = response.headers.get("X-Shopify-API-Version", self._api_version)[:VERSION_LETTERS_MAX]
        self._check_version(version)
        if throttled:
            return Throttled(
                f"{self.shop}: {sent.document.operation}: the bucket was empty {SENDS_MAX} times in a row",
                hint="another program uses the same bucket: check where else this app's credentials are used",
                retry_after_s=(requested or sent.document.points) / self.pace.restore_rate,
            )
        if malformed is not None:
            raise sent.malformed_answer(malformed, response)
        failure, denied = failures.of_errors(sent, errors)
        data = body.get("data")
        if failure is not None:
            raise failures.of_part(sent, failure, errors, data) or failure
        if not isinstance(data, Mapping):
            raise sent.no_answer("the response has neither data nor errors")
        if sent.is_mutation and (not data or any(payload is None for payload in data.values())):
            raise sent.no_answer("the response is empty and has no error")
        return Reply(sent, data, denied, requested, spent, version, _date(response), *response.extensions[SPAN])

    def _error_of_call(self, sent: Sent, response: httpx.Response, error: AccessError) -> ReconcilerError | None:
        """The error of a refused call if the shop answers other calls; None if it refuses the app as a whole."""
        may_be = response.status_code == httpx.codes.FORBIDDEN or sent.document.name in failures.ONE_USERS
        if response.status_code not in failures.ACCESS or not may_be or sent.document == SHOP_ID:
            return None
        try:
            self.run(SHOP_ID, lane="nudge")
        except ReconcilerError:
            return None  # the shop refuses every call, or that is unknown now
        return failures.of_one_call(sent, error)

    def points_of(self, document: Document) -> float:
        """The points that a call is expected to take: those of the last reply; before the first, as the file says."""
        return self._points.get(document.text, document.points)

    def _learn(self, document: Document, requested: float) -> None:
        with self._lock:
            self._points[document.text] = requested

    def _check_version(self, version: str) -> None:
        if version == self._api_version:
            return
        with self._lock:
            is_new = version not in self._warned and len(self._warned) < WARNED_MAX
            if is_new:
                self._warned.add(version)
        if is_new:
            self._warn(
                f"{self.shop}: API version {self._api_version} was requested, but {version} answered: "
                "set api_version in stores.yaml to one that Shopify supports"
            )

    # --- tokens ---------------------------------------------------------------------------------------------------

    def _exchange(self, form: Mapping[str, str]) -> Mapping[str, Any]:
        """auth.Exchange for this shop."""
        sent = Sent(self.shop, TOKEN_EXCHANGE)
        try:
            with self._connections.lend() as http:
                request = httpx.Request(
                    "POST", self._token_address, headers=HEADERS, data=dict(form), extensions=TIMEOUTS
                )
                response = exchange(http, request, CALL)
        except httpx.RequestError as error:
            raise failures.of_transport(sent, error) from None
        if response.status_code in {400, 401, 403}:
            raise self._grant_error(response)
        failure = failures.of_status(sent, response)
        if failure is not None:
            raise failure
        try:
            return _object(response)
        except MalformedError as error:
            raise TemporaryError(f"{self.shop}: the token endpoint's response is not JSON: {error}") from error

    def _grant_error(self, response: httpx.Response) -> AccessError:
        try:
            body = _object(response)
        except MalformedError:
            body = {}
        if b"shop_not_permitted" in response.content:
            return AccessError(
                f"{self.shop}: client credentials work only if app and shop belong to one organisation",
                hint="use an app of the shop's organisation, or install this one and set its refresh_token",
            )
        named = body.get("error")
        error = named[:200] if isinstance(named, str) and named else f"HTTP {response.status_code}"
        if error == "invalid_grant":
            return GrantRefused(
                f"{self.shop}: the refresh token is no longer valid",
                hint="install the app in the shop again and set the new refresh_token in stores.yaml",
            )
        return AccessError(
            f"{self.shop}: the token endpoint refuses the app: {error}",
            hint="compare client_id and client_secret in stores.yaml with the app's own",
        )


def _object(response: httpx.Response) -> Mapping[str, Any]:
    """The body as a JSON object, whatever the content type. MalformedError if it is not one."""
    body = decode_json(response.content, with_surrogates=True)
    if not isinstance(body, Mapping):
        raise MalformedError("not a JSON object")
    return body


def _cost(body: Mapping[str, Any]) -> tuple[float | None, float | None, Status | None]:
    """Requested and actual points and the bucket, as far as the reply states plausible values."""
    extensions = body.get("extensions")
    cost = extensions.get("cost") if isinstance(extensions, Mapping) else None
    if not isinstance(cost, Mapping):
        return None, None, None
    bucket = cost.get("throttleStatus")
    status = None
    if isinstance(bucket, Mapping):
        maximum, available, rate = (bucket.get(n) for n in ("maximumAvailable", "currentlyAvailable", "restoreRate"))
        size, points_s = _number(maximum, least=1.0), _number(rate, least=1.0)
        left = _number(available, least=-POINTS_MAX)
        if size is not None and points_s is not None and left is not None:
            status = Status(size, left, points_s)
    return _number(cost.get("requestedQueryCost")), _number(cost.get("actualQueryCost")), status


def _number(value: object, *, least: float = 0.0) -> float | None:
    """Points, or points a second; None for an implausible value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if least <= value <= POINTS_MAX else None


def _date(response: httpx.Response) -> datetime | None:
    """The shop's time. The zone -0000 is UTC, and Python gives it as none."""
    try:
        found = parsedate_to_datetime(response.headers.get("Date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
