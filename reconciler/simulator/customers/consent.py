"""Marketing consent, data erasure and the opt-out of data sales.

Live replies of the Admin API, read 2026-11-23.
"""

from typing import Final

from reconciler.simulator.customers import normalisation
from reconciler.simulator.customers.merges import Merging
from reconciler.simulator.customers.mutations import check_writable, consent_moment
from reconciler.simulator.customers.reading.views import CustomerView, consent_view
from reconciler.simulator.customers.records import Rare, SimConsent, SimCustomer, rare
from reconciler.simulator.customers.validation import examine
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import gid, user_error

OPT_OUT_TAG: Final = "created-by-dns-form"
"""The note of a customer created by an opt-out."""


class Consents(Merging):
    # --- consent --------------------------------------------------------------------------------------------------

    def customer_email_marketing_consent_update(self, input: Json) -> Json:  # noqa: A002 - Shopify's name
        return self._consent(input, "emailMarketingConsent", "email", "EMAIL")

    def customer_sms_marketing_consent_update(self, input: Json) -> Json:  # noqa: A002 - Shopify's name
        return self._consent(input, "smsMarketingConsent", "phone", "SMS")

    def _consent(self, given: Json, name: str, field: str, kind: str) -> Json:
        sent = given[name]
        state = sent["marketingState"]
        check_writable(state)
        customer = self.find(given["customerId"])
        if customer is None:
            is_sms = kind == "SMS"
            path, code = (None, None) if is_sms else (("input", "customerId"), "INVALID")
            error = user_error(path, "Customer not found", code)
            return {"customer": None, "userErrors": [error]}
        if kind == "SMS" and customer.phone is None:
            message = "A phone number is required to set the SMS consent state."
            return {"customer": None, "userErrors": [user_error(("input", name), message, "INVALID")]}
        fault = self._fault(sent)
        if fault is not None:
            error = user_error(("input", name, fault[0]), fault[1], fault[2])
            return {"customer": CustomerView(self, customer) if kind == "EMAIL" else None, "userErrors": [error]}
        consent = SimConsent(state, sent.get("marketingOptInLevel"), consent_moment(sent, self.now()))
        if getattr(customer, field) is not None and not _is_older(consent, rare(customer), kind):
            self.set_consent(customer, consent, kind)
        return {"customer": CustomerView(self, customer), "userErrors": []}

    def _fault(self, sent: Json) -> tuple[str, str, str] | None:
        level = sent.get("marketingOptInLevel")
        if level is None:
            return ("marketingOptInLevel", "Marketing opt in level must exist", "MISSING_ARGUMENT")
        if sent["marketingState"] == "PENDING" and level != "CONFIRMED_OPT_IN":
            words = "Marketing opt in level must be confirmed opt-in for pending consent state"
            return ("marketingOptInLevel", words, "INVALID")
        if consent_moment(sent, self.now()) > self.now():
            return ("consentUpdatedAt", "Consent updated at must not be in the future", "INVALID")
        return None

    def set_consent(self, customer: SimCustomer, consent: SimConsent, kind: str) -> None:
        """Record a consent, and tell who asked for its webhooks."""
        self.remember(customer.number, customer)
        setattr(customer.seldom(), "email_consent" if kind == "EMAIL" else "sms_consent", consent)
        self.people.change(customer, {"updated_at": self.now()})
        topic = "CUSTOMERS_EMAIL_MARKETING_CONSENT_UPDATE" if kind == "EMAIL" else "CUSTOMERS_MARKETING_CONSENT_UPDATE"
        self.tell(topic, lambda: _consent_body(customer, consent, kind))

    # --- erasure --------------------------------------------------------------------------------------------------

    def customer_request_data_erasure(self, customer_id: str) -> Json:
        customer = self.find(customer_id)
        if customer is None:
            return _not_erased("Customer does not exist", "DOES_NOT_EXIST")
        facts = customer.seldom()
        facts.erasure_requested_at = facts.erasure_requested_at or self.now()
        return {"customerId": customer_id, "userErrors": []}

    def customer_cancel_data_erasure(self, customer_id: str) -> Json:
        customer = self.find(customer_id)
        if customer is None:
            return _not_erased("Customer does not exist", "DOES_NOT_EXIST")
        if rare(customer).erasure_requested_at is None:
            return _not_erased("Customer's data is not scheduled for erasure", "NOT_BEING_ERASED")
        customer.seldom().erasure_requested_at = None
        return {"customerId": customer_id, "userErrors": []}

    def redact(self, customer: SimCustomer) -> None:
        """Erase all personal data; the customer remains."""
        self.remember(customer.number, customer)
        body = self._redact_body(customer)
        facts = customer.seldom()
        facts.redacted_at, facts.erasure_requested_at = self.now(), None
        facts.addresses, facts.default_address = [], None
        facts.email_consent = facts.sms_consent = facts.multipass = None
        blank = dict.fromkeys(("email", "phone", "first_name", "last_name", "note"))
        self.people.change(customer, {**blank, "tags": (), "updated_at": self.now()})
        for each in customer.metafields if self.habits.erasure_wipes_metafields else ():
            self.people.take_metafield(customer, each.name)
        self.tell("CUSTOMERS_REDACT", lambda: body)
        self.emit_update(customer)

    def _redact_body(self, customer: SimCustomer) -> Json:
        person = {"id": customer.number, "email": customer.email, "phone": customer.phone}
        return {"shop_id": self.app_id, "shop_domain": self.domain, "customer": person, "orders_to_redact": []}

    # --- data sales -----------------------------------------------------------------------------------------------

    def data_sale_opt_out(self, email: str) -> Json:
        """Opt out by email; creates a customer if the email is unknown."""
        wanted = normalisation.email(email, self.habits)
        if wanted is None or not normalisation.email_is_strictly_valid(wanted):
            error = user_error(None, "Data sale opt out failed.", "FAILED")
            return {"customerId": None, "userErrors": [error]}
        customer = self.people.with_email(wanted)
        if customer is None:
            customer = self.save(None, examine(self, None, {"email": wanted, "tags": [OPT_OUT_TAG]}))
        if not rare(customer).opted_out:
            customer.seldom().opted_out = True
            self.people.change(customer, {"updated_at": self.now()})
        return {"customerId": gid("Customer", customer.number), "userErrors": []}


def _is_older(consent: SimConsent, facts: Rare, kind: str) -> bool:
    """Whether the known consent has a later time: it stays, without an error.

    The latest `consentUpdatedAt` counts (Admin API 2026-10, CustomerEmailMarketingConsentState, read 2026-11-30).
    """
    known = facts.email_consent if kind == "EMAIL" else facts.sms_consent
    return known is not None and (known.updated_at or 0) > (consent.updated_at or 0)


def _consent_body(customer: SimCustomer, consent: SimConsent, kind: str) -> Json:
    given = consent_view(consent)
    name, address = ("email_address", customer.email) if kind == "EMAIL" else ("phone", customer.phone)
    inner = {
        "state": consent.state.lower(),
        "opt_in_level": (consent.level or "unknown").lower(),
        "consent_updated_at": given["consentUpdatedAt"],
    }
    block = "email_marketing_consent" if kind == "EMAIL" else "sms_marketing_consent"
    return {"customer_id": customer.number, name: address, block: inner}


def _not_erased(message: str, code: str) -> Json:
    return {"customerId": None, "userErrors": [user_error(("customerId",), message, code)]}
