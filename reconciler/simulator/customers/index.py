"""The customers of one simulated shop, with indexes by number, email, phone, and each unique metafield.

All changes of indexed fields must use this module, so that the indexes are always correct. Callers check uniqueness before.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any, Final

from reconciler.simulator.customers import normalisation
from reconciler.simulator.customers.normalisation import Habits
from reconciler.simulator.customers.records import Metafield, SimCustomer

_INDEXED: Final = frozenset({"email", "phone"})
_GAPS_MAX: Final = 0.5
"""The share of deleted numbers above which the order is rebuilt."""


class CustomerIndex:
    def __init__(self, habits: Habits) -> None:
        self.habits = habits
        self.by_number: dict[int, SimCustomer] = {}
        self.unique: dict[tuple[str, str], dict[str, SimCustomer]] = {}
        """For each unique metafield (namespace, key): the customers by value."""
        self.version = 0
        """Increases with each change of a customer."""
        self.by_email: dict[str, SimCustomer] = {}
        self.by_phone: dict[str, SimCustomer] = {}
        self._order: list[int] = []

    def __len__(self) -> int:
        return len(self.by_number)

    def __iter__(self) -> Iterator[SimCustomer]:
        return iter(self.by_number.values())

    def with_email(self, value: str) -> SimCustomer | None:
        return self.by_email.get(normalisation.email_key(value, self.habits))

    def with_phone(self, e164: str) -> SimCustomer | None:
        return self.by_phone.get(e164)

    def with_unique(self, name: tuple[str, str], value: str) -> SimCustomer | None:
        return self.unique.get(name, {}).get(normalisation.id_key(value, self.habits))

    def add(self, customer: SimCustomer) -> None:
        """Numbers only increase, so the order by id is the order of creation."""
        self.by_number[customer.number] = customer
        self._order.append(customer.number)
        if customer.email:
            self.by_email[normalisation.email_key(customer.email, self.habits)] = customer
        if customer.phone:
            self.by_phone[customer.phone] = customer
        for metafield in customer.metafields:
            self._hold(customer, metafield)
        self.version += 1

    def remove(self, customer: SimCustomer) -> None:
        self._release(customer, _INDEXED)
        for metafield in customer.metafields:
            self._drop(metafield)
        del self.by_number[customer.number]
        self.version += 1
        if len(self._order) > 1000 and len(self.by_number) < len(self._order) * (1 - _GAPS_MAX):  # noqa: PLR2004
            self._order = list(self.by_number)

    def change(self, customer: SimCustomer, values: dict[str, Any]) -> None:
        """Set values and update the indexes."""
        indexed = _INDEXED.intersection(values)
        self._release(customer, indexed)
        for field, value in values.items():
            setattr(customer, field, value)
        if "email" in indexed and customer.email:
            self.by_email[normalisation.email_key(customer.email, self.habits)] = customer
        if "phone" in indexed and customer.phone:
            self.by_phone[customer.phone] = customer
        self.version += 1

    def put_metafield(self, customer: SimCustomer, metafield: Metafield) -> None:
        """Add a metafield, or index the new value of an existing one."""
        old = customer.metafield(metafield.name)
        if old is None:
            customer.metafields = (*customer.metafields, metafield)
        else:
            self._drop(old)
            old.value, old.type, old.updated_at = metafield.value, metafield.type, metafield.updated_at
        self._hold(customer, metafield)
        self.version += 1

    def take_metafield(self, customer: SimCustomer, name: tuple[str, str]) -> Metafield | None:
        found = customer.metafield(name)
        if found is not None:
            self._drop(found)
            customer.metafields = tuple(each for each in customer.metafields if each is not found)
            self.version += 1
        return found

    def watch_unique(self, name: tuple[str, str]) -> bool:
        """Make the values of a metafield unique. False, without effect, if they are not unique now."""
        index: dict[str, SimCustomer] = {}
        for customer in self:
            metafield = customer.metafield(name)
            if metafield is not None:
                key = normalisation.id_key(metafield.value, self.habits)
                if key in index:
                    return False
                index[key] = customer
        self.unique[name] = index
        return True

    def reindex(self) -> None:
        """Rebuild the indexes after a change of habits. Of customers with the same key, the latest one is indexed."""
        people = list(self.by_number.values())
        self.by_number.clear()
        self._order.clear()
        for index in (self.by_email, self.by_phone, *self.unique.values()):
            index.clear()
        for customer in people:
            self.add(customer)

    def after(self, number: int) -> Iterator[SimCustomer]:
        """Customers in the order of their ids, after `number`."""
        order = self._order
        for position in range(bisect_right(order, number), len(order)):
            customer = self.by_number.get(order[position])
            if customer is not None:
                yield customer

    def before(self, number: int | None) -> Iterator[SimCustomer]:
        """Customers in reverse order of their ids, before `number` or from the last one."""
        order = self._order
        start = len(order) if number is None else bisect_right(order, number - 1)
        for position in range(start - 1, -1, -1):
            customer = self.by_number.get(order[position])
            if customer is not None:
                yield customer

    def _release(self, customer: SimCustomer, fields: Iterable[str]) -> None:
        if "email" in fields and customer.email:
            self.by_email.pop(normalisation.email_key(customer.email, self.habits), None)
        if "phone" in fields and customer.phone:
            self.by_phone.pop(customer.phone, None)

    def _hold(self, customer: SimCustomer, metafield: Metafield) -> None:
        index = self.unique.get(metafield.name)
        if index is not None:
            index[normalisation.id_key(metafield.value, self.habits)] = customer

    def _drop(self, metafield: Metafield) -> None:
        index = self.unique.get(metafield.name)
        if index is not None:
            index.pop(normalisation.id_key(metafield.value, self.habits), None)
