"""Another writer: an identity provider that imports its claims and asks nobody. It overwrites names, phone and all tags.

Each import sets the four as the provider knows them, so what a reconciler or staff wrote there is gone. It runs when told
to, or by itself at a rhythm whose choices follow from a seed. Nothing of this is Shopify's: it stands for an app.
"""

import random
from dataclasses import dataclass
from typing import Final

from reconciler.simulator.customers.records import Customer
from reconciler.simulator.customers.staff import Staff
from reconciler.simulator.customers.views import CustomerView
from reconciler.simulator.graphql.documents import Json

AT_ONCE_MAX: Final = 1000
"""Imports made up for after a leap of the clock."""
FIRST_NAMES: Final = ("Ada", "Grace", "Edsger", "Barbara", "Alan", "Katherine")
LAST_NAMES: Final = ("Lovelace", "Hopper", "Dijkstra", "Liskov", "Turing", "Johnson")
TAGS: Final = ("claims", "from-idp", "group-staff", "group-members")


@dataclass(slots=True)
class ImportSchedule:
    """An import every so many seconds, of a customer and with claims that the seed chooses."""

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
        """One import, for a customer by id or e-mail: what isn't given is cleared; nobody with the e-mail is made."""
        customer = self.people.with_email(email) if id is None and email is not None else self._known(str(id))
        fields: Json = {"first_name": first_name, "last_name": last_name, "phone": phone, "tags": tags}
        if customer is None:
            fields["email"] = email
        return CustomerView(self, self._saved(customer, fields))

    def staff_claims(self, every_s: float, seed: int = 0) -> Json:
        """From now on an import every so many seconds; 0 ends it."""
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
        for _ in range(min(due, AT_ONCE_MAX) if numbers else 0):
            customer = self.people.by_number.get(schedule.random.choice(numbers))
            if customer is not None:
                self._import(customer, schedule)

    def _import(self, customer: Customer, schedule: ImportSchedule) -> None:
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
        self._saved(customer, claims)
