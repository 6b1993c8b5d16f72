"""The four mutations of customers' addresses. Live replies of the Admin API, read 2026-11-23 and 2026-11-29."""

from typing import Final

from reconciler.simulator.customers.addresses.inputs import AddressOwner, as_input, examine_address
from reconciler.simulator.customers.consent import Consents
from reconciler.simulator.customers.reading.views import CustomerView, address_view
from reconciler.simulator.customers.records import Address, SimCustomer, rare
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import top_level, user_error

MISMATCH: Final = "The id of the address does not match the id in the input"


class Residence(Consents):
    def customer_address_create(self, customer_id: str, address: Json, set_as_default: bool | None = None) -> Json:  # noqa: FBT001 - Shopify's argument
        customer = self.find(customer_id)
        if customer is None:
            return _refused("address", ("customerId",), "Customer does not exist")
        fields, complaints = examine_address(self, address, _person(customer))
        if any(each.fields == fields for each in rare(customer).addresses):
            complaints.append(((), "Address already exists", "TAKEN"))
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
        if "id" in address and address["id"] != address_id:
            return _refused("address", ("addressId",), MISMATCH)
        fields, complaints = examine_address(self, {**as_input(old.fields), **address}, _person(customer))
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

    def _address(
        self, customer_id: str, address_id: str, payload: str
    ) -> tuple[SimCustomer | None, Address | None, Json]:
        """The customer and the address, or the refusal; a top-level error for an address that belongs to no customer."""
        customer = self.find(customer_id)
        number = self.number_of(address_id.partition("?")[0], "MailingAddress")
        if not any(each.number == number for one in self.people for each in rare(one).addresses):
            raise top_level("invalid id" if customer is not None else f"Invalid id: {address_id}", "RESOURCE_NOT_FOUND")
        if customer is None:
            return None, None, _refused(payload, ("customerId",), "Customer does not exist")
        found = next((each for each in rare(customer).addresses if each.number == number), None)
        refused = _refused(payload, ("addressId",), "Address does not exist")
        if payload == "customer":
            refused["customer"] = CustomerView(self, customer)
        return customer, found, refused

    def _keep(self, customer: SimCustomer, addresses: list[Address], default: Address | None) -> None:
        self.remember(customer.number, customer)
        facts = customer.seldom()
        facts.addresses = list(addresses)
        if default is not None:
            facts.default_address = default.number
        elif facts.default_address not in {each.number for each in addresses}:
            facts.default_address = addresses[0].number if addresses else None
        self.people.change(customer, {"updated_at": self.now()})
        self.emit_update(customer)


def _person(customer: SimCustomer) -> AddressOwner:
    return AddressOwner(customer.first_name, customer.last_name)


def _refused(payload: str, path: tuple[str, ...], message: str) -> Json:
    return {payload: None, "userErrors": [user_error(path, message)]}


def _complained(complaints: list[tuple[tuple[str, ...], str, str]]) -> Json:
    errors = [user_error(("address", *path), message) for path, message, _ in complaints]
    return {"address": None, "userErrors": errors}
