"""ports.CustomerReader and CustomerWriter for one shop. Each write is one mutation of ten points; none reads anything back.

Never sends addresses, consent, or a list of tags but at creation: those would overwrite what others wrote.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from collections.abc import Mapping as MappingOf
from typing import Any, Final

from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.store import Store
from reconciler.errors import AnswerLost, PermanentError, Refusal, Refused, TemporaryError
from reconciler.ports import Created, Shown
from reconciler.shopify import inputs
from reconciler.shopify.answers import metafields_of, shown_of, tags_of
from reconciler.shopify.client import ShopClient
from reconciler.shopify.document import document
from reconciler.shopify.failures import Path
from reconciler.shopify.pace import Lane
from reconciler.shopify.reads import CustomerReads
from reconciler.shopify.refusals import merge_reasons, refused
from reconciler.shopify.shapes import MergeJobReply, Payload, WrittenCustomer

MERGE_WAIT_S: Final = 120.0
MERGE_FIRST_PAUSE_S: Final = 0.5
MERGE_PAUSE_MAX_S: Final = 5.0


class ShopCustomers(CustomerReads):
    """The customers of one shop, as one store's policy wants to see them."""

    def __init__(
        self,
        client: ShopClient,
        store: Store,
        *,
        lane: Lane = "sweep",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(client, store, lane=lane)
        self._sleep = sleep

    def create(self, user: ClerkUserId, fields: MappingOf[str, Any]) -> Created:
        payload, hidden = self._written("customer_set", inputs.create(self._backlink, user, fields))
        made = CustomerId(self._told(payload.customer.id if payload.customer else None, "id"))
        return Created(made, shown_of(payload.customer, hidden))

    def update(self, customer: CustomerId, fields: MappingOf[str, Any]) -> Shown:
        payload, hidden = self._written("customer_set", inputs.update(customer, fields))
        self._about(payload.customer, customer)
        return shown_of(payload.customer, hidden)

    def add_tags(self, customer: CustomerId, tags: Sequence[str]) -> Shown:
        node = self._write("tags_add", inputs.tags(customer, tags)).node
        self._about(node, customer)
        return tags_of(node)

    def remove_tags(self, customer: CustomerId, tags: Sequence[str]) -> None:
        self._about(self._write("tags_remove", inputs.tags(customer, tags)).node, customer)

    def set_metafields(self, customer: CustomerId, values: MappingOf[str, tuple[str, str]]) -> Shown:
        return self.set_metafields_of({customer: values}).get(customer, {})

    def set_metafields_of(
        self, values: MappingOf[CustomerId, MappingOf[str, tuple[str, str]]]
    ) -> MappingOf[CustomerId, Shown]:
        names = [(customer, name) for customer, named in values.items() for name in named]
        items = [f"metafields.{name}" for _, name in names]
        return metafields_of(names, self._metafields_set(inputs.metafields_set(values), items))

    def delete_metafields(self, customer: CustomerId, names: Sequence[str]) -> None:
        items = [f"metafields.{name}" for name in names]
        self._write("metafields_delete", inputs.metafields_delete(customer, names), items=items)

    def link(self, customer: CustomerId, user: ClerkUserId) -> None:
        namespace, key = self._backlink
        item = {
            "ownerId": customer,
            "namespace": namespace,
            "key": key,
            "value": user,
            "type": "id",
            "compareDigest": None,  # only where there is none
        }
        self._metafields_set({"metafields": [item]}, ["backlink"])

    def unlink(self, customer: CustomerId) -> None:
        namespace, key = self._backlink
        item = {"ownerId": customer, "namespace": namespace, "key": key}
        self._write("metafields_delete", {"metafields": [item]}, items=["backlink"])

    def merge(self, one: CustomerId, other: CustomerId, *, keep_email_of: CustomerId) -> CustomerId:
        payload = self._write("customer_merge", {"one": one, "other": other, "keep": keep_email_of})
        winner = CustomerId(self._told(payload.resulting_customer_id, "resultingCustomerId"))
        if payload.job is not None and payload.job.done:
            return winner
        return self._merged(self._told(payload.job.id if payload.job else None, "job"))

    def delete(self, customer: CustomerId) -> None:
        """Who is not there any more counts as deleted."""
        try:
            payload = self._write("customer_delete", {"id": customer})
        except Refused as error:
            if not all(each.code == "NOT_FOUND" for each in error.refusals):
                raise
        else:
            self._told(payload.deleted_customer_id, "deletedCustomerId")

    def request_erasure(self, customer: CustomerId) -> None:
        payload = self._write("customer_request_data_erasure", {"id": customer})
        self._told(payload.customer_id, "customerId")

    # --- below the port -------------------------------------------------------------------------------------------

    def _write(self, name: str, variables: MappingOf[str, Any], *, items: Sequence[str] = ()) -> Payload:
        """The payload of one mutation that was carried out."""
        return self._written(name, variables, items=items)[0]

    def _written(
        self, name: str, variables: MappingOf[str, Any], *, items: Sequence[str] = ()
    ) -> tuple[Payload, Collection[Path]]:
        """The same, with the paths in it that are not shown to us."""
        reply = self._client.run(document(name), variables, lane=self._lane)
        payload = reply.payload(Payload)
        if payload.user_errors:
            raise refused(next(iter(reply.data.values()))["userErrors"], items=items)
        return payload, reply.denied.keys()

    def _told(self, value: str | None, name: str) -> str:
        if value is None:
            raise AnswerLost(f"{self._client.shop}: the answer to a write names no {name}")
        return value

    def _metafields_set(self, variables: MappingOf[str, Any], items: Sequence[str]) -> Payload:
        """AnswerLost where the answer shows nothing that was set: it may have refused without saying so."""
        payload = self._write("metafields_set", variables, items=items)
        if not payload.metafields:
            raise AnswerLost(f"{self._client.shop}: the answer to a write names no metafield")
        return payload

    def _about(self, shown: WrittenCustomer | None, customer: CustomerId) -> None:
        """AnswerLost where the answer is not about this customer: it may have refused without saying so."""
        if self._told(shown.id if shown is not None else None, "id") != customer:
            raise AnswerLost(f"{self._client.shop}: the answer to a write names another customer")

    def _merged(self, job: str) -> CustomerId:
        """Wait for Shopify's job, in growing pauses; who is left stands in its answer."""
        pause_s, waited_s, last = MERGE_FIRST_PAUSE_S, 0.0, "still under way"
        began = time.monotonic()  # answers may be slow, too
        while max(waited_s, time.monotonic() - began) < MERGE_WAIT_S:
            self._sleep(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 1.6, MERGE_PAUSE_MAX_S)
            try:
                reply = self._client.run(document("customer_merge_job_status"), {"job": job}, lane=self._lane)
                request = reply.shaped(MergeJobReply).customer_merge_job_status
            except TemporaryError as error:
                last = error.message
                continue
            except PermanentError as error:  # the merge was sent, and nobody tells what became of it
                raise AnswerLost(error.message, hint=error.hint) from error
            last = request.status.lower() if request is not None else "not known to the shop"
            if request is not None and request.status == "COMPLETED":
                return CustomerId(self._told(request.resulting_customer_id, "resultingCustomerId"))
            if request is not None and request.status == "FAILED":
                raise _merge_failed(reply.data["customerMergeJobStatus"]["customerMergeErrors"] or ())
        raise AnswerLost(f"{self._client.shop}: the merge had not ended after {MERGE_WAIT_S:g} s: {last}")


def _merge_failed(errors: Sequence[MappingOf[str, Any]]) -> Refused:
    reasons = merge_reasons(errors) or ("Shopify gives no reason",)
    return Refused(tuple(Refusal(None, "MERGE_FAILED", f"the merge failed: {reason}") for reason in reasons))
