"""tagsAdd and tagsRemove, which change single tags. Live replies of the Admin API, read 2026-11-23."""

from reconciler.simulator.customers import normalisation
from reconciler.simulator.customers.mutations import Customers
from reconciler.simulator.customers.reading.views import CustomerView
from reconciler.simulator.customers.records import SimCustomer
from reconciler.simulator.customers.validation import ledger_tags, tag_problems
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import top_level, user_error
from reconciler.simulator.strange import spellings_of_tags


class Tagging(Customers):
    def tags_add(self, id: str, tags: list[str]) -> Json:  # noqa: A002 - Shopify's name
        customer = self._find_customer(id)
        if customer is None:
            return _unknown()
        wanted = ledger_tags(self, [*customer.tags, *tags])
        problems = tag_problems(wanted)
        if problems:
            return {"node": None, "userErrors": [user_error(("tags",), each.message) for each in problems]}
        self.retag(customer, wanted)
        return {"node": CustomerView(self, customer), "userErrors": []}

    def tags_remove(self, id: str, tags: list[str]) -> Json:  # noqa: A002 - Shopify's name
        customer = self._find_customer(id)
        if customer is None:
            return _unknown()
        gone = {tag.casefold() for tag in normalisation.split_tags(tags)}
        shown = spellings_of_tags(self.habits.strange, customer.tags)
        left = [
            tag
            for tag, as_shown in zip(customer.tags, shown, strict=True)
            if not {tag.casefold(), as_shown.casefold()} & gone
        ]
        self.retag(customer, tuple(left))
        return {"node": CustomerView(self, customer), "userErrors": []}

    def retag(self, customer: SimCustomer, tags: tuple[str, ...]) -> None:
        """Set the customer's tags, if they differ."""
        before = customer.tags
        if tags != before:
            self.remember(customer.number, customer)
            self.people.change(customer, {"tags": tags, "updated_at": self.now()})
            self.emit_update(customer, before)

    def _find_customer(self, identifier: str) -> SimCustomer | None:
        if not identifier.startswith("gid://shopify/Customer/"):
            raise top_level("invalid id", "RESOURCE_NOT_FOUND")
        return self.find(identifier)


def _unknown() -> Json:
    return {"node": None, "userErrors": [user_error(("id",), "Customer does not exist")]}
