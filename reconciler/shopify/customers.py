"""ports.CustomerReader and CustomerWriter for one shop. A write is one mutation of ten points, without a read."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from collections.abc import Mapping as MappingOf
from typing import Any, Final

from reconciler.core.model.consent import ADDRESSES, Channel, Consent, field_of
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
    SetConsent,
    SetMetafields,
    Unlink,
    Update,
    Write,
)
from reconciler.errors import AnswerLost, PermanentError, Refusal, Refused, TemporaryError
from reconciler.ports import Answer
from reconciler.shopify.api.answers import metafields_of, shown_of, tags_of
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.api.consents import consent_of
from reconciler.shopify.api.document import document
from reconciler.shopify.api.failures import Path
from reconciler.shopify.api.pace import Lane
from reconciler.shopify.api.refusals import merge_reasons, write_error
from reconciler.shopify.api.shapes import MergeJobReply, Payload, WrittenCustomer
from reconciler.shopify.api.writes import Mutation, mutation_of
from reconciler.shopify.reads import CustomerReads

MERGE_WAIT_S: Final = 120.0
MERGE_FIRST_PAUSE_S: Final = 0.5
MERGE_PAUSE_MAX_S: Final = 5.0

EARLY: Final = "{field}: Shopify's clock is behind the time of the answer"
EARLY_HINT: Final = "it is tried again; if it continues, check the clock of this machine"


class ShopCustomers(CustomerReads):
    """The customers of one shop, with the fields that one store's policy needs."""

    def __init__(
        self,
        client: ShopClient,
        store: Store,
        *,
        lane: Lane = "scan",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(client, store, lane=lane)
        self._sleep = sleep

    def send(self, write: Write) -> Answer:
        """Send one write. A customer that does not exist counts as deleted."""
        try:
            payload, hidden = self._run(mutation_of(write, self._backlink))
        except Refused as error:
            if isinstance(write, Delete) and all(each.code == "NOT_FOUND" for each in error.refusals):
                return Answer()
            if isinstance(write, SetConsent) and any("in the future" in each.message for each in error.refusals):
                raise TemporaryError(EARLY.format(field=field_of(write.channel)), hint=EARLY_HINT) from error
            raise
        return self._answer(write, payload, hidden)

    # --- below the port -------------------------------------------------------------------------------------------

    def _run(self, mutation: Mutation) -> tuple[Payload, Collection[Path]]:
        """Send one mutation. Returns its payload and the hidden paths in it; `write_error` if it has userErrors."""
        reply = self._client.run(document(mutation.document), mutation.variables, lane=self._lane)
        payload = reply.payload(Payload)
        if payload.user_errors:
            raise write_error(reply.sent, next(iter(reply.data.values()))["userErrors"], items=mutation.items)
        return payload, reply.denied.keys()

    def _answer(  # noqa: C901  a table
        self, write: Write, payload: Payload, hidden: Collection[Path]
    ) -> Answer:
        """The answer in the payload. AnswerLost if it lacks what was written: that may be a silent refusal."""
        match write:
            case Create():
                made = CustomerId(self._required(payload.customer.id if payload.customer else None, "id"))
                return Answer(made, {made: shown_of(payload.customer, hidden)})
            case Update(customer):
                self._check_customer(payload.customer, customer)
                return Answer(shown={customer: shown_of(payload.customer, hidden)})
            case AddTags(customer):
                self._check_customer(payload.node, customer)
                return Answer(shown={customer: tags_of(payload.node)})
            case RemoveTags(customer):
                self._check_customer(payload.node, customer)
            case SetMetafields(values):
                self._check_metafields(payload)
                return Answer(
                    shown=metafields_of([(c, name) for c, named in values.items() for name in named], payload)
                )
            case SetConsent(customer, channel, consent):
                self._check_customer(payload.customer, customer)
                self._check_consent(payload.customer, channel, consent)
            case Link():
                self._check_metafields(payload)
            case Merge():
                return Answer(self._winner(write, payload))
            case Delete():
                self._required(payload.deleted_customer_id, "deletedCustomerId")
            case RequestErasure():
                self._required(payload.customer_id, "customerId")
            case DeleteMetafields() | Unlink():
                pass
        return Answer()

    def _winner(self, merge: Merge, payload: Payload) -> CustomerId:
        """The customer that remains, once the merge is done."""
        winner = CustomerId(self._required(payload.resulting_customer_id, "resultingCustomerId"))
        if payload.job is None or not payload.job.done:
            winner = self._wait_for_merge(self._required(payload.job.id if payload.job else None, "job"))
        if winner not in {merge.one, merge.other}:
            raise AnswerLost(f"{self._client.shop}: the response to a merge is about another customer")
        return winner

    def _required(self, value: str | None, name: str) -> str:
        if value is None:
            raise AnswerLost(f"{self._client.shop}: the response to a write has no {name}")
        return value

    def _check_customer(self, shown: WrittenCustomer | None, customer: CustomerId) -> None:
        if self._required(shown.id if shown is not None else None, "id") != customer:
            raise AnswerLost(f"{self._client.shop}: the response to a write is about another customer")

    def _check_consent(self, shown: WrittenCustomer | None, channel: Channel, consent: Consent) -> None:
        """Refused if the response has another consent: Shopify reports no error if there is no email, or a newer answer."""
        assert shown is not None
        node = shown.default_email_address if channel == "email" else shown.default_phone_number
        found = consent_of(node) if node is not None else None
        if found is None or found.state != consent.state or _is_later(found, consent):
            seen = f"the customer is {found}" if found is not None else f"the customer has no {ADDRESSES[channel]}"
            said = f"Shopify did not set {consent.state}: {seen}"
            raise Refused((Refusal(field_of(channel), "STALE_OBJECT", said),))

    def _check_metafields(self, payload: Payload) -> None:
        if not payload.metafields:
            raise AnswerLost(f"{self._client.shop}: the response to a write has no metafield")

    def _wait_for_merge(self, job: str) -> CustomerId:
        """Poll Shopify's merge job with growing pauses. Returns the remaining customer."""
        pause_s, waited_s, last = MERGE_FIRST_PAUSE_S, 0.0, "still running"
        began = time.monotonic()  # responses may be slow, too
        while max(waited_s, time.monotonic() - began) < MERGE_WAIT_S:
            self._sleep(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 1.6, MERGE_PAUSE_MAX_S)
            try:
                reply = self._client.run(document("customer_merge_job_status"), {"job": job}, lane=self._lane)
                request = reply.as_shape(MergeJobReply).customer_merge_job_status
            except TemporaryError as error:
                last = error.message
                continue
            except PermanentError as error:  # the merge was sent, and its outcome is unknown
                raise AnswerLost(error.message, hint=error.hint) from error
            last = request.status.lower() if request is not None else "unknown to the shop"
            if request is not None and request.status == "COMPLETED":
                return CustomerId(self._required(request.resulting_customer_id, "resultingCustomerId"))
            if request is not None and request.status == "FAILED":
                raise _merge_failed(reply.data["customerMergeJobStatus"]["customerMergeErrors"] or ())
        raise AnswerLost(f"{self._client.shop}: the merge did not end within {MERGE_WAIT_S:g} s: {last}")


def _is_later(found: Consent, consent: Consent) -> bool:
    return found.at is not None and consent.at is not None and found.at > consent.at


def _merge_failed(errors: Sequence[MappingOf[str, Any]]) -> Refused:
    reasons = merge_reasons(errors) or ("Shopify gives no reason",)
    return Refused(tuple(Refusal(None, "MERGE_FAILED", f"the merge failed: {reason}") for reason in reasons))
