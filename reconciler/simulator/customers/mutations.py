"""customerSet, customerCreate, customerUpdate and customerDelete.

Live replies of the Admin API, read 2026-11-23. customerSet names fields below `input` and sends codes; the others do
neither. After any error nothing was saved.
"""

from datetime import UTC, datetime
from typing import Any, Final

from reconciler.simulator.customers import normalisation
from reconciler.simulator.customers.reading.views import CustomerView
from reconciler.simulator.customers.records import Metafield, SimConsent, SimCustomer, rare
from reconciler.simulator.customers.validation import Draft, InputProblem, examine
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import gid, top_level, user_error
from reconciler.simulator.metafields.definitions import Definitions
from reconciler.simulator.metafields.limits import check_limits
from reconciler.simulator.metafields.values import ValueFaultError

NO_DEFINITION: Final = "Metafield definition of type 'id' is required when using custom ids."
ELSEWHERE: Final = "To update {0}, please use the customer{1}Update Mutation instead"
CONSENTS: Final = ("emailMarketingConsent", "smsMarketingConsent")
WRITABLE: Final = frozenset({"SUBSCRIBED", "UNSUBSCRIBED", "PENDING"})
_INLINE: Final = (
    (
        CONSENTS[0], "email_consent", "email",
        "An email address is required to set the email marketing consent state.",
    ),
    (CONSENTS[1], "sms_consent", "phone", "A phone number is required to set the SMS consent state."),
)  # fmt: skip


KEPT: Final = frozenset({"COMPANY_CONTACT", "SUBSCRIPTIONS"})
"""What forbids a deletion, though `canDelete` knows orders only. The words of the refusal are not recorded."""


def check_writable(state: str) -> None:
    """A top-level error for a consent state that only Shopify may set."""
    if state not in WRITABLE:
        raise top_level(f"Cannot specify {state} as a marketing state input", "INVALID")


def consent_moment(sent: Json, now: float) -> float:
    """The time of a consent."""
    text = sent.get("consentUpdatedAt")
    if not text:
        return now
    at = datetime.fromisoformat(str(text))
    return at.replace(tzinfo=at.tzinfo or UTC).timestamp()


class Customers(Definitions):
    """The mutations that write customers."""

    # --- root fields ----------------------------------------------------------------------------------------------

    def customer_set(self, input: Json, identifier: Json | None = None) -> Json:  # noqa: A002 - Shopify's name
        target, link, problems = self._target(input, identifier)
        if problems:
            return _set_refused(problems)
        draft = examine(self, target, input)
        if link is not None and target is None and self.habits.custom_id_adopts_email:
            target = self._adoptable(input)
            draft = examine(self, target, input) if target is not None else draft
        if draft.problems:
            return _set_refused(draft.problems)
        customer = self.save(target, draft, link)
        return {"customer": CustomerView(self, customer), "userErrors": []}

    def customer_create(self, input: Json) -> Json:  # noqa: A002 - Shopify's name
        if input.get("id") is not None:
            return _refused([InputProblem(("id",), "Cannot specify ID on creation")])
        nested = [
            InputProblem(("addresses", str(index), "id"), "Cannot specify address ID on creation")
            for index, each in enumerate(input.get("addresses") or ())
            if each.get("id") is not None
        ]
        if nested:
            return _refused(nested)
        draft = examine(self, None, input)
        metafields = self.inline_metafields(None, input, draft)
        self._inline_consent(input, draft)
        if draft.problems:
            return _refused(draft.problems)
        customer = self.save(None, draft, metafields=metafields)
        return {"customer": CustomerView(self, customer), "userErrors": []}

    def customer_update(self, input: Json) -> Json:  # noqa: A002 - Shopify's name
        customer = self.find(input["id"]) if input.get("id") is not None else None
        if customer is None:
            return _refused([InputProblem(("id",), "Customer does not exist")])
        refused = [
            InputProblem((name,), ELSEWHERE.format(name, name[0].upper() + name[1:]))
            for name in CONSENTS
            if name in input
        ]
        draft = examine(self, customer, input)
        metafields = self.inline_metafields(customer, input, draft)
        if refused or draft.problems:
            return _refused([*refused, *draft.problems])
        self.save(customer, draft, metafields=metafields)
        return {"customer": CustomerView(self, customer), "userErrors": []}

    def customer_delete(self, input: Json) -> Json:  # noqa: A002 - Shopify's name
        customer = self.find(input["id"])
        message = None
        if customer is None:
            message = "Customer can't be found"
        elif customer.orders or rare(customer).had_orders:
            message = "Customer can’t be deleted because they have associated orders"
        elif bound := sorted(KEPT & rare(customer).blockers):
            message = f"Customer can’t be deleted because of {bound[0].replace('_', ' ').lower()}"
        if customer is None or message is not None:
            error = user_error(("id",), str(message))
            return {"deletedCustomerId": None, "shop": self.shop(), "userErrors": [error]}
        self.erase(customer)
        return {"deletedCustomerId": gid("Customer", customer.number), "shop": self.shop(), "userErrors": []}

    # --- steps ----------------------------------------------------------------------------------------------------

    def _target(
        self, given: Json, identifier: Json | None
    ) -> tuple[SimCustomer | None, Metafield | None, list[InputProblem]]:
        """The customer that customerSet identifies, the back-link to write, and the problems of the identifier."""
        if identifier is None:
            if given.get("id") is None:
                return None, None, []
            identifier = {"id": given["id"]}
        elif given.get("id") is not None:
            return (
                None,
                None,
                [InputProblem((), "The id field is not allowed if identifier is provided.", "ID_NOT_ALLOWED")],
            )
        if identifier.get("customId") is not None:
            return self._by_custom_id(identifier["customId"])
        if identifier.get("id") is not None:
            found = self.find(identifier["id"])
            if found is None:
                message = "Resource matching the identifier was not found."
                return None, None, [InputProblem((), message, "NOT_FOUND")]
            return found, None, []
        return self._by_contact(given, identifier)

    def _by_contact(
        self, given: Json, identifier: Json
    ) -> tuple[SimCustomer | None, Metafield | None, list[InputProblem]]:
        name, value = next(iter(identifier.items()))
        if given.get(name) is None:
            message = "The input field corresponding to the identifier is required."
            return None, None, [InputProblem((), message, "MISSING_FIELD_REQUIRED")]
        if self.contact_key(name, value) != self.contact_key(name, given[name]):
            message = "The identifier value does not match the value of the corresponding field in the input."
            return None, None, [InputProblem((), message, "INPUT_MISMATCH")]
        return self.with_contact(name, value), None, []

    def contact_key(self, name: str, value: str) -> str:
        if name == "email":
            return normalisation.email_key(value, self.habits)
        return normalisation.phone(value, self.country) or value

    def with_contact(self, name: str, value: str) -> SimCustomer | None:
        """The customer with this email or phone."""
        if name == "email":
            return self.people.with_email(value)
        phone = normalisation.phone(value, self.country)
        return None if phone is None else self.people.with_phone(phone)

    def _by_custom_id(self, custom: Json) -> tuple[SimCustomer | None, Metafield | None, list[InputProblem]]:
        name = self.id_definition(custom)
        found = self.people.with_unique(name, custom["value"])
        if found is not None:
            return found, None, []
        try:  # which error Shopify returns is not recorded
            check_limits("id", custom["value"], self.definitions["CUSTOMER", *name].validations)
        except ValueFaultError as fault:
            return None, None, [InputProblem(("customId",), fault.message, "INVALID")]
        return None, self.new_metafield(name, custom["value"], "id"), []

    def id_definition(self, custom: Json) -> tuple[str, str]:
        """Namespace and key of a custom id; a top-level NOT_FOUND if there is no definition of type `id`."""
        name = (self.namespace(custom.get("namespace")), custom["key"])
        definition = self.definitions.get(("CUSTOMER", *name))
        if definition is None or definition.type != "id":
            raise top_level(NO_DEFINITION, "NOT_FOUND")
        return name

    def _adoptable(self, given: Json) -> SimCustomer | None:
        email = given.get("email")
        return self.people.with_email(email) if email else None

    def _inline_consent(self, given: Json, draft: Draft) -> None:
        for name, attribute, field, words in _INLINE:
            sent = given.get(name)
            if sent is None:
                continue
            check_writable(sent["marketingState"])
            if draft.values.get(field) is None:
                draft.refuse(name, words)
            else:
                at = consent_moment(sent, self.now())
                draft.rare[attribute] = SimConsent(sent["marketingState"], sent.get("marketingOptInLevel"), at)


def _set_refused(problems: list[InputProblem]) -> Json:
    errors = [user_error(("input", *(each.path or ())), each.message, each.code) for each in problems]
    return {"customer": None, "userErrors": errors}


def _refused(problems: list[InputProblem]) -> Json:
    errors: list[Any] = [user_error(each.path, each.message) for each in problems]
    return {"customer": None, "userErrors": errors}
