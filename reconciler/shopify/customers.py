"""ports.CustomerReader and CustomerWriter for one shop. A write is one mutation of ten points; none reads anything back."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from collections.abc import Mapping as MappingOf
from typing import Any, Final

from reconciler.core.model.ids import CustomerId
from reconciler.core.model.store import Store
from reconciler.core.model.write import (
    AddTags,
    Create,
    Delete,
    DeleteMetafields,
    Link,
    Merge,
    RemoveTags,
    RequestErasure,
    SetMetafields,
    Unlink,
    Update,
    Write,
)
from reconciler.errors import AnswerLost, PermanentError, Refusal, Refused, TemporaryError
from reconciler.ports import Answer
from reconciler.shopify.answers import metafields_of, shown_of, tags_of
from reconciler.shopify.client import ShopClient
from reconciler.shopify.document import document
from reconciler.shopify.failures import Path
from reconciler.shopify.pace import Lane
from reconciler.shopify.reads import CustomerReads
from reconciler.shopify.refusals import merge_reasons, refused
from reconciler.shopify.shapes import MergeJobReply, Payload, WrittenCustomer
from reconciler.shopify.writes import Mutation, mutation_of

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

    def send(self, write: Write) -> Answer:
        """Who is not there any more counts as deleted."""
        try:
            payload, hidden = self._run(mutation_of(write, self._backlink))
        except Refused as error:
            if isinstance(write, Delete) and all(each.code == "NOT_FOUND" for each in error.refusals):
                return Answer()
            raise
        return self._answer(write, payload, hidden)

    # --- below the port -------------------------------------------------------------------------------------------

    def _run(self, mutation: Mutation) -> tuple[Payload, Collection[Path]]:
        """The payload of one mutation that Shopify accepted, and the paths in it that are not shown to us."""
        reply = self._client.run(document(mutation.document), mutation.variables, lane=self._lane)
        payload = reply.payload(Payload)
        if payload.user_errors:
            raise refused(next(iter(reply.data.values()))["userErrors"], items=mutation.items)
        return payload, reply.denied.keys()

    def _answer(  # noqa: C901  a table
        self, write: Write, payload: Payload, hidden: Collection[Path]
    ) -> Answer:
        """AnswerLost where the payload does not name what was written: it may have refused without saying so."""
        match write:
            case Create():
                made = CustomerId(self._told(payload.customer.id if payload.customer else None, "id"))
                return Answer(made, {made: shown_of(payload.customer, hidden)})
            case Update(customer):
                self._about(payload.customer, customer)
                return Answer(shown={customer: shown_of(payload.customer, hidden)})
            case AddTags(customer):
                self._about(payload.node, customer)
                return Answer(shown={customer: tags_of(payload.node)})
            case RemoveTags(customer):
                self._about(payload.node, customer)
            case SetMetafields(values):
                self._about_metafields(payload)
                return Answer(
                    shown=metafields_of([(c, name) for c, named in values.items() for name in named], payload)
                )
            case Link():
                self._about_metafields(payload)
            case Merge():
                winner = CustomerId(self._told(payload.resulting_customer_id, "resultingCustomerId"))
                if payload.job is None or not payload.job.done:
                    winner = self._merged(self._told(payload.job.id if payload.job else None, "job"))
                return Answer(winner)
            case Delete():
                self._told(payload.deleted_customer_id, "deletedCustomerId")
            case RequestErasure():
                self._told(payload.customer_id, "customerId")
            case DeleteMetafields() | Unlink():
                pass
        return Answer()

    def _told(self, value: str | None, name: str) -> str:
        if value is None:
            raise AnswerLost(f"{self._client.shop}: the answer to a write names no {name}")
        return value

    def _about(self, shown: WrittenCustomer | None, customer: CustomerId) -> None:
        if self._told(shown.id if shown is not None else None, "id") != customer:
            raise AnswerLost(f"{self._client.shop}: the answer to a write names another customer")

    def _about_metafields(self, payload: Payload) -> None:
        if not payload.metafields:
            raise AnswerLost(f"{self._client.shop}: the answer to a write names no metafield")

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
