"""Customers as GraphQL returns them; each field is computed when it is read.

A view is a mapping, so that it can be printed; it returns the record's current values.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from reconciler.simulator.customers.normalisation import email_is_valid, phone_as_name
from reconciler.simulator.customers.reading.view import RecordView
from reconciler.simulator.customers.records import Address, Metafield, SimConsent, SimCustomer, SimMerge, rare
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.graphql.paging import page_of
from reconciler.simulator.ledger import gid, iso
from reconciler.simulator.metafields.views import MetafieldView
from reconciler.simulator.strange import spelling_of, spellings_of_tags


class CustomerView(RecordView[SimCustomer]):
    __slots__ = ()

    @property
    def id(self) -> str:
        return gid("Customer", self.record.number)

    def spelt(self, kind: str, value: str | None) -> str | None:
        """A value as this shop returns it."""
        return spelling_of(self.ledger.habits.strange, kind, value)

    def metafield(self, key: str, namespace: str | None = None) -> MetafieldView | None:
        found = self.record.metafield((self.ledger.namespace(namespace), key))
        return None if found is None else MetafieldView(self.ledger, found, self)

    def metafields(
        self,
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
        namespace: str | None = None,
        keys: list[str] | None = None,
        *,
        reverse: bool = False,
    ) -> Json:
        rows: list[Metafield] = list(self.record.metafields)
        if namespace is not None:
            wanted = self.ledger.namespace(namespace)
            rows = [each for each in rows if each.namespace == wanted]
        if keys is not None:
            rows = [each for each in rows if f"{each.namespace}.{each.key}" in keys]
        return page_of(
            sorted(rows, key=lambda each: each.number),
            key=lambda each: (None, each.number),
            view=lambda each: MetafieldView(self.ledger, each, self),
            first=first, last=last, after=after, before=before, reverse=reverse,
        )  # fmt: skip

    def addresses_v2(
        self,
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
        *,
        reverse: bool = False,
    ) -> Json:
        return page_of(
            rare(self.record).addresses,
            key=lambda each: (None, each.number),
            view=address_view,
            first=first, last=last, after=after, before=before, reverse=reverse,
        )  # fmt: skip

    def display_name(self) -> str:
        person = self.record
        names = " ".join(part for part in (person.first_name, person.last_name) if part)
        return names or person.email or (phone_as_name(person.phone) if person.phone else "")

    def default_address(self) -> Json | None:
        facts = rare(self.record)
        return next((address_view(each) for each in facts.addresses if each.number == facts.default_address), None)

    def default_email_address(self) -> Json | None:
        email = self.spelt("email", self.record.email)
        return None if email is None else email_view(email, rare(self.record).email_consent)

    def default_phone_number(self) -> Json | None:
        phone = self.spelt("phone", self.record.phone)
        return None if phone is None else phone_view(phone, rare(self.record).sms_consent)

    def can_delete(self) -> bool:
        return self.record.orders == 0 and not rare(self.record).had_orders

    def mergeable(self) -> Json:
        merge = self.ledger.merging.get(self.record.number)
        return mergeable(self.record, None if merge is None else merge_view(merge))

    def email_consent(self) -> Json | None:
        if self.record.email is None:
            return None
        return consent_view(rare(self.record).email_consent)

    def sms_consent(self) -> Json | None:
        if self.record.phone is None:
            return None
        consent = rare(self.record).sms_consent
        return consent_view(consent) | {"consentCollectedFrom": None if consent is None else "OTHER"}

    fields: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "__typename": lambda _: "Customer",
        "id": lambda view: view.id,
        "legacyResourceId": lambda view: str(view.record.number),
        "createdAt": lambda view: iso(view.record.created_at),
        "updatedAt": lambda view: iso(view.record.updated_at),
        "firstName": lambda view: view.spelt("name", view.record.first_name),
        "lastName": lambda view: view.spelt("name", view.record.last_name),
        "displayName": display_name,
        "defaultEmailAddress": default_email_address,
        "defaultPhoneNumber": default_phone_number,
        "email": lambda view: view.spelt("email", view.record.email),
        "phone": lambda view: view.spelt("phone", view.record.phone),
        "verifiedEmail": lambda view: not rare(view.record).unverified,
        "validEmailAddress": lambda view: view.record.email is not None and email_is_valid(view.record.email),
        "locale": lambda view: view.spelt("locale", view.record.locale),
        "note": lambda view: view.spelt("note", view.record.note),
        "tags": lambda view: spellings_of_tags(view.ledger.habits.strange, view.record.tags),
        "state": lambda view: view.record.state,
        "numberOfOrders": lambda view: str(view.record.orders),
        "amountSpent": lambda view: {
            "amount": f"{view.record.orders * 42:d}.0",
            "currencyCode": view.ledger.currency,
        },
        "canDelete": can_delete,
        "mergeable": mergeable,
        "dataSaleOptOut": lambda view: rare(view.record).opted_out,
        "taxExempt": lambda view: rare(view.record).tax_exempt,
        "taxExemptions": lambda view: list(rare(view.record).tax_exemptions),
        "multipassIdentifier": lambda view: rare(view.record).multipass,
        "defaultAddress": default_address,
        "addressesV2": lambda view: view.addresses_v2,
        "metafield": lambda view: view.metafield,
        "metafields": lambda view: view.metafields,
        "emailMarketingConsent": email_consent,
        "smsMarketingConsent": sms_consent,
        # not in the schema: for the control API and tests
        "metafieldValues": lambda view: {f"{each.namespace}.{each.key}": each.value for each in view.record.metafields},
    }


def consent_view(consent: SimConsent | None) -> Json:
    return {
        "marketingState": consent.state if consent else "NOT_SUBSCRIBED",
        "marketingOptInLevel": (consent.level if consent else None) or "SINGLE_OPT_IN",
        "consentUpdatedAt": iso(consent.updated_at) if consent and consent.updated_at is not None else None,
    }


def email_view(email: str, consent: SimConsent | None) -> Json:
    given = consent_view(consent)
    return {
        "emailAddress": email,
        "marketingState": given["marketingState"],
        "marketingOptInLevel": given["marketingOptInLevel"],
        "marketingUpdatedAt": given["consentUpdatedAt"],
        "marketingUnsubscribeUrl": "https://shopify.com/unsubscribe",
        "openTrackingLevel": "UNKNOWN",
        "openTrackingUrl": "https://shopify.com/opt-in-to-open-tracking",
        "sourceLocation": None,
        "validFormat": email_is_valid(email),
    }


def phone_view(phone: str, consent: SimConsent | None) -> Json:
    given = consent_view(consent)
    return {
        "phoneNumber": phone,
        "marketingState": given["marketingState"],
        "marketingOptInLevel": given["marketingOptInLevel"],
        "marketingUpdatedAt": given["consentUpdatedAt"],
        "marketingCollectedFrom": None if consent is None else "OTHER",
        "sourceLocation": None,
    }


def address_view(address: Address) -> Json:
    given = address.fields
    name = " ".join(part for part in (given.get("firstName"), given.get("lastName")) if part)
    return {
        "__typename": "MailingAddress",
        **given,
        "id": f"{gid('MailingAddress', address.number)}?model_name=CustomerAddress",
        "name": name or None,
    }


def mergeable(customer: SimCustomer, in_progress: Json | None) -> Json:
    fields = merge_blockers(customer)
    if in_progress is not None:
        fields = sorted([*fields, "MERGE_IN_PROGRESS"])
    return {
        "isMergeable": not fields,
        "errorFields": fields,
        "mergeInProgress": in_progress,
        "reason": f"{fields[0].replace('_', ' ').capitalize()} prevents the merge." if fields else None,
    }


def merge_view(merge: SimMerge) -> Json:
    """A CustomerMergeRequest."""
    return {
        "jobId": merge.job,
        "resultingCustomerId": gid("Customer", merge.winner),
        "status": merge.status,
        "customerMergeErrors": [{"errorFields": [field], "message": message} for field, message in merge.errors],
    }


def merge_blockers(customer: SimCustomer) -> list[str]:
    """What forbids merging this customer: members of CustomerMergeErrorFieldType."""
    facts = rare(customer)
    found = set(facts.blockers)
    if facts.multipass is not None:
        found.add("MULTIPASS_IDENTIFIER")
    if facts.erasure_requested_at is not None:
        found.add("PENDING_DATA_REQUEST")
    if facts.redacted_at is not None:
        found.add("REDACTED_AT")
    return sorted(found)
