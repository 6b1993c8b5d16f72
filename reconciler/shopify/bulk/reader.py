"""ports.BulkReader for one shop, and what bulk queries and bulk mutations share: their state and their result files.

Facts of bulk operations (Admin API 2026-10, read 2026-11-23): counts are strings; `url` is null if there are no lines;
`partialDataUrl` replaces it if the operation did not complete; both are valid for seven days; lines have no order. Result
files are on a third party's storage service, so they are fetched without the token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar

import httpx

from reconciler.core.model.store import Store
from reconciler.errors import AnswerLost, PermanentError, ReconcilerError, TemporaryError
from reconciler.outbound.exchange import Bounds, TooLargeError, open_exchange
from reconciler.ports import BulkState, BulkStatus
from reconciler.shopify.api.client import STORAGE_HEADERS, TIMEOUTS, ShopClient
from reconciler.shopify.api.document import bulk_customers, document
from reconciler.shopify.api.failures import DEFECT_HINT, host_of, of_storage
from reconciler.shopify.api.pace import Lane
from reconciler.shopify.api.refusals import refusal_error
from reconciler.shopify.api.shapes import BulkNode, BulkPayload, BulkReply, UserError, utc

BUSY_RETRY_S: Final = 30.0
STATUS: Final[Mapping[str, BulkStatus]] = {
    "COMPLETED": "completed",
    "CANCELED": "canceled",
    "FAILED": "failed",
    "EXPIRED": "expired",
}
"""Every other status counts as running, as Shopify may add values."""
LINE_BYTES_MAX: Final = 4_194_304  # enough for a customer with the longest note, all tags and 25 metafields
BATCH_BYTES_MAX: Final = 4_194_304  # above it, a batch has fewer lines than requested
FILE_FIRST_S: Final = 60.0
FILE_BYTES_S: Final = 100_000  # bytes a second; a slower storage service counts as hanging
UNKNOWN_FILE_BYTES: Final = 100_000_000  # bound for a file of unknown size
EXPIRED_STATUSES: Final = frozenset({400, 401, 403, 404, 410})
"""Statuses of a storage service for an expired address."""


class _WithErrors(Protocol):
    @property
    def user_errors(self) -> list[UserError]: ...


_Payload = TypeVar("_Payload", bound=_WithErrors)


class _AddressRefusedError(Exception):
    """The storage service refuses the address, with this HTTP status: it has probably expired."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class BulkOperations:
    """What bulk queries and bulk mutations share."""

    def __init__(self, client: ShopClient, store: Store, *, lane: Lane = "scan") -> None:
        self._client = client
        self._store = store
        self._lane: Lane = lane

    def state(self, operation: str) -> BulkState | None:
        node = self._node(operation)
        if node is None:
            return None
        return BulkState(
            operation=operation,
            status=STATUS.get(node.status, "running"),
            objects=int(node.object_count),
            readable=_address(node) is not None or _lacks_address(node),
            error_code=node.error_code,
            created_at=utc(node.created_at),
            completed_at=utc(node.completed_at) if node.completed_at is not None else None,
        )

    def cancel(self, operation: str) -> None:
        """Cancel the operation. userErrors are ignored: they say that it has already ended."""
        self._client.run(document("bulk_cancel"), {"id": operation}, lane=self._lane)

    def _lines(self, operation: str, *, skip: int, batch: int) -> Iterator[list[bytes]]:
        """Read the result's lines in batches, without the first `skip`. Fetches a new address once if it expires."""
        for last in (False, True):
            node = self._node(operation)
            address = _address(node) if node is not None else None
            if node is None or node.status == "EXPIRED":
                raise PermanentError(
                    f"{self._client.shop}: the result of {operation} is deleted: Shopify keeps it for seven days",
                    hint="run the command again: it starts another one",
                )
            if node.status not in STATUS:
                raise TemporaryError(f"{self._client.shop}: {operation} has not ended yet", retry_after_s=BUSY_RETRY_S)
            if address is None:
                if _lacks_address(node):
                    said = f"{node.object_count} lines, but no address to fetch them from"
                    raise TemporaryError(f"{self._client.shop}: the result of {operation} has {said}")
                return
            try:
                yield from self._fetch_lines(address, node, skip=skip, batch=batch)
            except _AddressRefusedError as refused:
                if last:
                    raise _unfetched(
                        f"{self._client.shop}: the result of {operation}", address, refused.status
                    ) from None
            else:
                return

    def _fetch_lines(self, address: str, node: BulkNode, *, skip: int, batch: int) -> Iterator[list[bytes]]:
        where = f"{self._client.shop}: the result of {node.id}"
        size, expected = int(node.file_size or 0), int(node.object_count)
        bounds = Bounds(FILE_FIRST_S + (size or UNKNOWN_FILE_BYTES) / FILE_BYTES_S, size or UNKNOWN_FILE_BYTES)
        seen = received = 0
        held: list[bytes] = []
        rest = b""
        try:
            with self._client.storage(address) as http:
                request = httpx.Request("GET", address, headers=STORAGE_HEADERS, extensions=TIMEOUTS)
                with open_exchange(http, request, bounds) as (response, pieces):
                    _check(where, address, response)
                    for piece in pieces:
                        received += len(piece)
                        *whole, rest = (rest + piece).split(b"\n")
                        if len(rest) > LINE_BYTES_MAX:
                            raise _too_long(where)
                        held.extend(line for line in whole if line.strip())
                        while len(held) >= batch or sum(map(len, held)) > BATCH_BYTES_MAX:
                            part, held = held[:batch], held[batch:]
                            yield from _after(part, skip - seen)
                            seen += len(part)
        except TooLargeError:
            raise PermanentError(
                f"{where} is longer than the {bounds.body_bytes:,} bytes that the shop states", hint=DEFECT_HINT
            ) from None
        except httpx.HTTPError as error:
            raise of_storage(f"{where} broke off", address, error) from None
        if rest.strip():
            held.append(rest)
        wanted = expected if node.status == "COMPLETED" else 0
        if received < size or seen + len(held) < wanted:
            raise TemporaryError(
                f"{where} is incomplete: {seen + len(held)} of {wanted} lines, {received} of {size} bytes"
            )
        yield from _after(held, skip - seen)

    def _node(self, operation: str) -> BulkNode | None:
        reply = self._client.run(document("bulk_operation"), {"id": operation}, lane=self._lane)
        return reply.as_shape(BulkReply).bulk_operation

    def _payload(self, name: str, variables: Mapping[str, Any], shape: type[_Payload]) -> _Payload:
        """Send one call and return its payload. userErrors are raised."""
        reply = self._client.run(document(name), variables, lane=self._lane)
        payload = reply.payload(shape)
        if payload.user_errors:
            raise self._start_error(next(iter(reply.data.values()))["userErrors"])
        return payload

    def _start_error(self, errors: list[Mapping[str, Any]]) -> ReconcilerError:
        """The error for the userErrors of an operation that did not start."""
        failure = refusal_error(errors)
        said = f"{self._client.shop}: {'; '.join(each.message for each in failure.refusals)}"
        if failure.has("OPERATION_IN_PROGRESS"):
            return TemporaryError(
                said, hint="Shopify runs at most five of a kind: wait, or cancel one", retry_after_s=BUSY_RETRY_S
            )
        if failure.has("LIMIT_REACHED") or failure.has("INTERNAL_FILE_SERVER_ERROR"):
            return TemporaryError(said, retry_after_s=BUSY_RETRY_S)
        return failure

    def _id(self, payload: BulkPayload) -> str:
        if payload.bulk_operation is None:
            raise AnswerLost(f"{self._client.shop}: the response has no bulk operation")
        return payload.bulk_operation.id


class ShopBulkReader(BulkOperations):
    """Reads all customers of one shop by one bulk query, with the metafields in the store's policy."""

    def start(self) -> str:
        backlink = self._store.backlink
        rules = [tuple(name.rsplit(".", 1)) for name in self._store.metafields]
        metafields = ((backlink.namespace, backlink.key), *((namespace, key) for namespace, key in rules))
        variables = {"query": bulk_customers(metafields, self._store.consent.channels)}
        try:
            return self._id(self._payload("bulk_run_query", variables, BulkPayload))
        except AnswerLost:  # a second query does no harm
            return self._id(self._payload("bulk_run_query", variables, BulkPayload))

    def lines(self, operation: str, *, skip: int = 0, batch: int = 1000) -> Iterator[list[bytes]]:
        return self._lines(operation, skip=skip, batch=batch)

    def _start_error(self, errors: list[Mapping[str, Any]]) -> ReconcilerError:
        failure = super()._start_error(errors)
        if isinstance(failure, TemporaryError):
            return failure
        return PermanentError(f"{self._client.shop}: the bulk query was refused: {failure.message}", hint=DEFECT_HINT)


def _address(node: BulkNode) -> str | None:
    return node.url or node.partial_data_url or None


def _lacks_address(node: BulkNode) -> bool:
    """Whether the result has lines, but no address."""
    return node.status == "COMPLETED" and int(node.object_count) > 0 and _address(node) is None


def _too_long(where: str) -> PermanentError:
    return PermanentError(f"{where} has a line longer than {LINE_BYTES_MAX:,} bytes", hint=DEFECT_HINT)


def _check(where: str, address: str, response: httpx.Response) -> None:
    """Raise for every status except 200."""
    if response.status_code == httpx.codes.OK:
        return
    if response.status_code in EXPIRED_STATUSES:
        raise _AddressRefusedError(response.status_code)
    if response.is_redirect:
        raise PermanentError(f"{where} redirects to another address (HTTP {response.status_code})", hint=DEFECT_HINT)
    raise _unfetched(where, address, response.status_code)


def _unfetched(where: str, address: str, status: int) -> TemporaryError:
    host = host_of(address)
    return TemporaryError(
        f"{where} can't be fetched now: {host} answers HTTP {status}",
        hint=f"run the command again later; if it stays so, check that no proxy or firewall answers in place of {host}",
    )


def _after(lines: list[bytes], skip: int) -> Iterator[list[bytes]]:
    left = lines[max(0, skip) :]
    if left:
        yield left
