"""ports.BulkWriter for one shop: stages, uploads and runs a file of writes, and reads its responses.

The mutations, their variables, and the messages and codes of refusals are those of single writes. Shopify's pages on bulk
imports and live responses, read 2026-11-23: the form has all parameters and then the file, 100 MB at most;
`stagedUploadPath` is the parameter `key`; lines run in no order and are identified by `__lineNumber`; an operation is
COMPLETED even if every line was refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import IO, Final

import httpx

from reconciler.core.model.ids import CustomerId
from reconciler.core.model.store import Store
from reconciler.core.model.write import Write
from reconciler.errors import TEMPORARY_SPACE, AnswerLost, PermanentError, TemporaryError
from reconciler.outbound.exchange import Bounds, exchange
from reconciler.outbound.reading import MalformedError, decode_json
from reconciler.ports import BulkAnswer, BulkState, Upload
from reconciler.shopify.api.answers import metafields_by_owner, shown_of, tags_of
from reconciler.shopify.api.client import STORAGE_HEADERS, TIMEOUTS, ShopClient
from reconciler.shopify.api.document import Document, document, with_mark
from reconciler.shopify.api.failures import DEFECT_HINT, Path, Sent, errors_of, host_of, of_errors, of_storage
from reconciler.shopify.api.pace import Lane
from reconciler.shopify.api.refusals import write_error
from reconciler.shopify.api.shapes import BulkPayload, BulkRecentReply, Payload, StagePayload, as_shape
from reconciler.shopify.api.writes import BULK_DOCUMENTS, mutation_of
from reconciler.shopify.bulk.reader import FILE_BYTES_S, FILE_FIRST_S, BulkOperations

FILE_BYTES_MAX: Final = 100_000_000
UPLOADED_BYTES_MAX: Final = 1_048_576  # bound for the storage service's response


class ShopBulkWriter(BulkOperations):
    """Bulk mutations in one shop. `file_bytes_max`: the limit of one file."""

    def __init__(
        self, client: ShopClient, store: Store, *, lane: Lane = "scan", file_bytes_max: int = FILE_BYTES_MAX
    ) -> None:
        super().__init__(client, store, lane=lane)
        self._file_bytes_max = file_bytes_max
        self._backlink = (store.backlink.namespace, store.backlink.key)

    def upload(self, rides_in: str, lines: Iterable[Write]) -> Upload:
        with tempfile.TemporaryFile() as file:
            try:
                digest, count = self._write_lines(file, lines)
                size = file.seek(0, os.SEEK_END)
            except OSError as error:
                said = f"a temporary file can't be written: {error.strerror}"
                raise PermanentError(said, hint=TEMPORARY_SPACE) from error
            name = f"{rides_in}-{digest[:16]}.jsonl"
            targets = self._payload("bulk_stage", {"filename": name}, StagePayload).staged_targets or ()
            address = targets[0].url if targets else None
            form = {each.name: each.value for each in targets[0].parameters} if targets else {}
            if not address or "key" not in form:
                raise TemporaryError(f"{self._client.shop} returned no upload address")
            file.seek(0)
            self._send_file(address, form, name, file, Bounds(FILE_FIRST_S + size / FILE_BYTES_S, UPLOADED_BYTES_MAX))
        return Upload(form["key"], digest, count)

    def run(self, rides_in: str, path: str, mark: str) -> str:
        mutation = with_mark(document(BULK_DOCUMENTS[rides_in]), mark)
        return self._id(self._payload("bulk_run_mutation", {"mutation": mutation, "path": path}, BulkPayload))

    def find(self, mark: str) -> str | None:
        reply = self._client.run(document("bulk_recent"), {"query": "operation_type:mutation"}, lane=self._lane)
        nodes = reply.as_shape(BulkRecentReply).bulk_operations.nodes
        return next((node.id for node in nodes if f"_{mark}(" in node.query), None)

    def operation_state(self, operation: str) -> BulkState | None:
        return self.state(operation)

    def answers(self, operation: str, rides_in: str, *, batch: int = 500) -> Iterator[list[BulkAnswer]]:
        sent = Sent(self._client.shop, document(BULK_DOCUMENTS[rides_in]))
        for lines in self._lines(operation, skip=0, batch=batch):
            found = [_answer(sent, line) for line in lines]
            yield [answer for answer in found if answer is not None]

    def _write_lines(self, file: IO[bytes], lines: Iterable[Write]) -> tuple[str, int]:
        """Write as many lines as fit. Returns their digest and count."""
        digest, size, count = hashlib.sha256(), 0, 0
        for write in lines:
            text = json.dumps(mutation_of(write, self._backlink).variables).encode() + b"\n"
            if size + len(text) > self._file_bytes_max:
                break
            size += file.write(text)
            digest.update(text)
            count += 1
        if not count:
            raise PermanentError(f"{self._client.shop}: no line fits into a file", hint=DEFECT_HINT)
        return digest.hexdigest(), count

    def _send_file(self, address: str, form: Mapping[str, str], name: str, file: IO[bytes], bounds: Bounds) -> None:
        """Upload the file: all parameters first, the file last."""
        files = {"file": (name, file, "text/jsonl")}
        try:
            with self._client.storage(address) as http:
                request = httpx.Request(
                    "POST", address, data=dict(form), files=files, headers=STORAGE_HEADERS, extensions=TIMEOUTS
                )
                response = exchange(http, request, bounds)
        except httpx.HTTPError as error:
            raise of_storage(f"{self._client.shop}: a file could not be uploaded", address, error) from None
        if not response.is_success:
            host = host_of(address)
            raise TemporaryError(
                f"{self._client.shop}: a file could not be uploaded: {host} answers HTTP {response.status_code}",
                hint=f"if it stays so, check that no proxy or firewall answers in place of {host}",
            )


def _answer(sent: Sent, text: bytes) -> BulkAnswer | None:
    """Read one line of the result. None if it can't be read, as if it were missing."""
    try:
        line = decode_json(text, with_surrogates=True)
    except MalformedError:
        return None
    number = line.get("__lineNumber") if isinstance(line, dict) else None
    if isinstance(number, bool) or not isinstance(number, int) or not isinstance(line, dict):
        return None
    if not 0 <= number < FILE_BYTES_MAX:  # more than a file can have lines
        return None
    error, hidden = of_errors(sent, errors_of(line))
    if error is not None:
        return BulkAnswer(number, error=error)
    data = line.get("data")
    raw = next(iter(data.values()), None) if isinstance(data, dict) else None
    if raw is None:
        return BulkAnswer(number, error=AnswerLost(f"{sent.shop}: the response of a bulk line is empty"))
    try:
        payload = as_shape(raw, Payload)
    except MalformedError as malformed:
        return BulkAnswer(number, error=sent.malformed_answer(malformed))
    if payload.user_errors:
        return BulkAnswer(number, error=write_error(sent, raw["userErrors"]))
    return _written_answer(sent, number, payload, hidden)


def _written_answer(sent: Sent, number: int, payload: Payload, hidden: Collection[Path]) -> BulkAnswer:
    if not _is_customer_set(sent.document):
        node = payload.node
        if node is None and not payload.metafields and sent.document.name != BULK_DOCUMENTS["delete_metafields"]:
            return BulkAnswer(
                number, error=AnswerLost(f"{sent.shop}: the response of a bulk line has no written value")
            )
        shown = metafields_by_owner(payload) if node is None else {CustomerId(node.id): tags_of(node)}
        return BulkAnswer(number, shown=shown)
    if payload.customer is None:
        return BulkAnswer(number, error=AnswerLost(f"{sent.shop}: the response of a bulk line has no customer"))
    customer = CustomerId(payload.customer.id)
    return BulkAnswer(number, customer, shown={customer: shown_of(payload.customer, hidden)})


def _is_customer_set(each: Document) -> bool:
    return each.name == BULK_DOCUMENTS["customers"]
