"""What replaying bulk operations needs: the files and the pace that were not recorded, and queries over customers.

A real operation moves at its own pace over a shop of its own size: how far it had come is taken over from the recording
before each call, and what is compared is how that is shown, and what may be done then.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from reconciler.simulator.bulk.operations import bulk_mutation
from reconciler.simulator.bulk.query import BulkQueryError, read_bulk_query
from reconciler.simulator.shop import Shop
from tests.simulator.replay.ids import Ids
from tests.simulator.replay.products import as_customers
from tests.simulator.replay.recordings import Call, Json

PLAIN_QUERY: Final = "{ customers { edges { node { id } } } }"
PLAIN_MUTATION: Final = "mutation($input: CustomerInput!) { customerCreate(input: $input) { customer { id } } }"
TOO_BIG: Final = 101 * 1024 * 1024


class BulkStage:
    """Prepares one shop for each call of a recording about bulk operations."""

    def __init__(self, shop: Shop, ids: Ids) -> None:
        self.shop = shop
        self.ids = ids
        self.texts: dict[str, str] = {}
        """Queries and mutations that customers can't have, and what replaces them."""
        shop.settling = True  # operations move as the recording says, not by themselves

    def prepared(self, call: Call) -> Call:
        """The call over customers, with its file sent and its operations as far as they had come."""
        variables, reply = as_customers(call.variables), as_customers(call.reply)
        accepted = any(isinstance(each, dict) and each.get("bulkOperation") for each in _roots(reply))
        if accepted:
            self._note(variables.get("query"), PLAIN_QUERY, _is_query)
            self._note(variables.get("mutation"), PLAIN_MUTATION, lambda text: bulk_mutation(text)[0] is not None)
        call = Call(call.query, self._replaced(variables), call.status, self._replaced(reply))
        self._upload(call)
        for shown in _operations(call.reply.get("data")):
            self._move(shown, cancels="bulkOperationCancel" in call.query)
        return call

    def _note(self, text: Any, stand_in: str, may_run: Any) -> None:
        if isinstance(text, str) and "{" in text and not may_run(text):
            self.texts[text] = stand_in

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._replaced(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._replaced(each) for each in value]
        return self.texts.get(value, value) if isinstance(value, str) else value

    def _upload(self, call: Call) -> None:
        """Send the file of a bulk mutation; none where the store had found none."""
        path = call.variables.get("path")
        text = json.dumps(call.reply)
        if not isinstance(path, str) or "NO_SUCH_FILE" in text or not path.startswith("tmp/"):
            return
        key = str(self.ids.translate(path))
        if key not in self.shop.staged:
            form = {"filename": "file.jsonl", "httpMethod": "POST", "mimeType": "text/jsonl", "resource": "BULK"}
            target = self.shop.staged_uploads_create(input=[form])["stagedTargets"][0]
            key = next(each["value"] for each in target["parameters"] if each["name"] == "key")
            self.ids.bind_mark(path, key)
        with self.shop.upload_place(key).open("wb") as file:
            file.write(b"" if "file is empty" in text else b'{"input": {"email": "bulk@example.com"}}\n')
            if "exceeds the maximum" in text:
                file.truncate(TOO_BIG)

    def _move(self, shown: Json, *, cancels: bool) -> None:
        """Take over how far an operation had come."""
        number = str(self.ids.translate(shown.get("id", ""))).rpartition("/")[2]
        operation = self.shop.operations.get(int(number)) if number.isdigit() else None
        if operation is None or "status" not in shown:
            return
        operation.status = "RUNNING" if cancels and shown["status"] == "CANCELING" else shown["status"]
        operation.rows = int(shown.get("objectCount") or operation.rows)
        operation.roots = int(shown.get("rootObjectCount") or operation.roots)
        operation.size = int(shown.get("fileSize") or 0)
        operation.completed_at = self.shop.now() if shown.get("completedAt") else None


def _is_query(text: str) -> bool:
    try:
        read_bulk_query(text)
    except BulkQueryError:
        return False
    return True


def _roots(reply: Json) -> list[Any]:
    return list((reply.get("data") or {}).values())


def _operations(value: Any) -> Iterator[Json]:
    if isinstance(value, list):
        for each in value:
            yield from _operations(each)
    elif isinstance(value, dict):
        if str(value.get("id")).startswith("gid://shopify/BulkOperation/"):
            yield value
        for each in value.values():
            yield from _operations(each)
