"""Staged uploads: a client requests an address and posts a form to it; the form's `key` identifies the file in a mutation.

Shopify's pages on bulk imports and live replies, read 2026-11-23.
"""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Final

from reconciler.simulator.bulk.files import UPLOADS
from reconciler.simulator.bulk.records import Staged
from reconciler.simulator.customers.people.claim_import import Claims
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import iso, user_error

DAY_S: Final = 86_400
UPLOAD_BYTES_MAX: Final = 100 * 1024 * 1024


class Uploads(Claims):
    upload_bytes_max: int = UPLOAD_BYTES_MAX

    def staged_uploads_create(self, input: list[Json]) -> Json:  # noqa: A002 - Shopify's name
        targets = []
        for index, each in enumerate(input):
            if each.get("httpMethod", "PUT") != "POST":
                message = "Bulk mutation variables are uploaded with POST."
                error = user_error(("input", str(index), "httpMethod"), message)
                return {"stagedTargets": None, "userErrors": [error]}
            targets.append(self._target_of(each))
        return {"stagedTargets": targets, "userErrors": []}

    def _target_of(self, given: Json) -> Json:
        number = self.next_number()
        now = self.now()
        key = f"tmp/{self.app_id}/bulk/{number:x}/{given['filename']}"
        policy = json.dumps({"expiration": iso(now + DAY_S), "conditions": [{"key": key}]})
        parameters = {
            "Content-Type": given["mimeType"],
            "success_action_status": "201",
            "acl": "private",
            "key": key,
            "x-goog-date": iso(now).replace("-", "").replace(":", ""),
            "x-goog-credential": "merchant-assets@shopify-tiers.iam.gserviceaccount.com/auto/storage/goog4_request",
            "x-goog-algorithm": "GOOG4-RSA-SHA256",
            "x-goog-signature": hmac.new(self.domain.encode(), key.encode(), hashlib.sha256).hexdigest(),
            "policy": base64.b64encode(policy.encode()).decode(),
        }
        self.staged[key] = Staged(number, parameters, now + DAY_S)
        url = f"{self.base_url()}{UPLOADS}/{self.domain}"
        return {
            "url": url,
            "resourceUrl": url,
            "parameters": [{"name": name, "value": value} for name, value in parameters.items()],
        }

    # --- the storage service --------------------------------------------------------------------------------------

    def upload_fault(self, given: dict[str, str], size: int) -> tuple[int, str, str] | None:
        """Status, code and message if this upload is refused."""
        staged = self.staged.get(given.get("key", ""))
        if staged is None or any(given.get(name) != value for name, value in staged.parameters.items()):
            return (403, "AccessDenied", "Access denied.")
        if self.now() > staged.until:
            return (400, "ExpiredToken", "Invalid argument: the policy has expired.")
        if size > self.upload_bytes_max:
            return (400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
        return None

    def upload_place(self, key: str) -> Path:
        staged = self.staged[key]
        staged.path = self.depot.place(f"{self.domain}/upload-{staged.number}.jsonl")
        return staged.path

    def upload_path(self, key: str) -> Path | None:
        staged = self.staged.get(key)
        return None if staged is None else staged.path
