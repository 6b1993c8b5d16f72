"""Simulates another writer: an identity provider app that imports claims and overwrites names, phone and all tags.

Each import sets these fields to the provider's values, so values of a reconciler or of staff are lost. It runs on demand, or
periodically with choices from a seed.
"""

import random
from dataclasses import dataclass
from typing import Final

from reconciler.simulator.customers.people.staff import Staff
from reconciler.simulator.customers.reading.views import CustomerView
from reconciler.simulator.customers.records import SimCustomer
from reconciler.simulator.graphql.documents import Json

CATCH_UP_MAX: Final = 1000
"""The number of imports that are made up for after a jump of the clock."""
FIRST_NAMES: Final = ("Ada", "Grace", "Edsger", "Barbara", "Alan", "Katherine")
LAST_NAMES: Final = ("Lovelace", "Hopper", "Dijkstra", "Liskov", "Turing", "Johnson")
TAGS: Final = ("claims", "from-idp", "group-staff", "group-members")


@dataclass(slots=True)
class ImportSchedule:
    """A periodic import; the seed chooses the customer and the claims."""

    every_s: float
    random: random.Random
    next_at: float
    done: int = 0


class Claims(Staff):
    schedule: ImportSchedule | None = None

    def staff_claim_import(
        self,
        id: str | None = None,  # noqa: A002 - as in Shopify
        email: str | None = None,
        *,
        first_name: str | None = None,
        last_name: str | None = None,
        phone: str | None = None,
        tags: list[str] | str = (),  # type: ignore[assignment]
    ) -> CustomerView:
        """Import the claims of one customer, by id or email. Missing claims clear fields; an unknown email is created."""
        customer = self.people.with_email(email) if id is None and email is not None else self._known(str(id))
        fields: Json = {"first_name": first_name, "last_name": last_name, "phone": phone, "tags": tags}
        if customer is None:
            fields["email"] = email
        return CustomerView(self, self._save(customer, fields))

    def staff_claims(self, every_s: float, seed: int = 0) -> Json:
        """Import periodically from now on; 0 seconds ends it."""
        self.settle()
        if every_s < 0:
            raise ValueError("every_s is not below 0")
        chooser = random.Random(f"claims {seed}")  # noqa: S311 - repeatable on purpose
        self.schedule = ImportSchedule(every_s, chooser, self.now() + every_s) if every_s else None
        return {"every_s": every_s, "seed": seed}

    def settle(self) -> None:
        super().settle()
        schedule = self.schedule
        if schedule is None or self.now() < schedule.next_at:
            return
        due = int((self.now() - schedule.next_at) // schedule.every_s) + 1
        schedule.next_at += due * schedule.every_s
        numbers = sorted(each.number for each in self.people if each.email is not None)
        for _ in range(min(due, CATCH_UP_MAX) if numbers else 0):
            customer = self.people.by_number.get(schedule.random.choice(numbers))
            if customer is not None:
                self._import(customer, schedule)

    def _import(self, customer: SimCustomer, schedule: ImportSchedule) -> None:
        schedule.done += 1
        claims: Json = {
            "first_name": schedule.random.choice(FIRST_NAMES),
            "last_name": schedule.random.choice(LAST_NAMES),
            "phone": schedule.random.choice((None, f"+1613555{schedule.random.randrange(10_000):04}")),
            "tags": schedule.random.sample(TAGS, schedule.random.randrange(len(TAGS))),
        }
        holder = None if claims["phone"] is None else self.people.with_phone(claims["phone"])
        if holder is not None and holder is not customer:
            claims["phone"] = None
        self._save(customer, claims)
