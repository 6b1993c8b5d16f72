"""The four mutations of customers' addresses. Live replies of the Admin API, read 2026-11-23."""

from reconciler.simulator.addresses import examine_address
from reconciler.simulator.consent import Consents
from reconciler.simulator.documents import Json
from reconciler.simulator.ledger import user_error
from reconciler.simulator.records import Address, Customer, rare
from reconciler.simulator.views import CustomerView, address_view


class Residence(Consents):
    def customer_address_create(self, customer_id: str, address: Json, set_as_default: bool | None = None) -> Json:  # noqa: FBT001 - Shopify's argument
        customer = self.find(customer_id)
        if customer is None:
            return _refused("address", ("customerId",), "Customer does not exist")
        fields, complaints = examine_address(address)
        if any(each.fields == fields for each in rare(customer).addresses):
            complaints.append((("base",), "Address already exists", "TAKEN"))
        if complaints:
            return _complained(complaints)
        made = Address(self.next_number(), fields)
        kept = [*rare(customer).addresses, made]
        self._keep(customer, kept, made if set_as_default or len(kept) == 1 else None)
        return {"address": address_view(made), "userErrors": []}

    def customer_address_update(
        self, customer_id: str, address_id: str, address: Json, set_as_default: bool | None = None  # noqa: FBT001 - Shopify's argument
    ) -> Json:  # fmt: skip
        customer, old, refused = self._address(customer_id, address_id, "address")
        if customer is None or old is None:
            return refused
        given = {**old.fields, "countryCode": old.fields.get("countryCodeV2"), **address}
        fields, complaints = examine_address(given)
        if complaints:
            return _complained(complaints)
        new = Address(old.number, fields)
        kept = [new if each is old else each for each in rare(customer).addresses]
        self._keep(customer, kept, new if set_as_default else None)
        return {"address": address_view(new), "userErrors": []}

    def customer_address_delete(self, customer_id: str, address_id: str) -> Json:
        customer, old, refused = self._address(customer_id, address_id, "deletedAddressId")
        if customer is None or old is None:
            return refused
        self._keep(customer, [each for each in rare(customer).addresses if each is not old], None)
        return {"deletedAddressId": address_id, "userErrors": []}

    def customer_update_default_address(self, customer_id: str, address_id: str) -> Json:
        customer, old, refused = self._address(customer_id, address_id, "customer")
        if customer is None or old is None:
            return refused
        self._keep(customer, rare(customer).addresses, old)
        return {"customer": CustomerView(self, customer), "userErrors": []}

    def _address(self, customer_id: str, address_id: str, payload: str) -> tuple[Customer | None, Address | None, Json]:
        customer = self.find(customer_id)
        if customer is None:
            return None, None, _refused(payload, ("customerId",), "Customer does not exist")
        number = self.number_of(address_id.partition("?")[0], "MailingAddress")
        found = next((each for each in rare(customer).addresses if each.number == number), None)
        return customer, found, _refused(payload, ("addressId",), "Address does not exist")

    def _keep(self, customer: Customer, addresses: list[Address], default: Address | None) -> None:
        self.remember(customer.number, customer)
        facts = customer.seldom()
        facts.addresses = list(addresses)
        if default is not None:
            facts.default_address = default.number
        elif facts.default_address not in {each.number for each in addresses}:
            facts.default_address = addresses[0].number if addresses else None
        self.people.change(customer, {"updated_at": self.now()})
        self.updated(customer)


def _refused(payload: str, path: tuple[str, ...], message: str) -> Json:
    return {payload: None, "userErrors": [user_error(path, message)]}


def _complained(complaints: list[tuple[tuple[str, ...], str, str]]) -> Json:
    errors = [user_error(("address", *path), message) for path, message, _ in complaints]
    return {"address": None, "userErrors": errors}
