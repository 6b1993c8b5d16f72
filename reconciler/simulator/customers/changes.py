"""Creates, changes and removes customers, with indexes, search history and events, for all parts of a shop.

The callers validate the change before, see `validation.py`.
"""

from reconciler.simulator.customers.records import Metafield, SimCustomer, rare
from reconciler.simulator.customers.validation import Draft
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import Ledger, gid
from reconciler.simulator.webhooks.bodies import customer_body, deleted_body, tags_body


class CustomerChanges(Ledger):
    def save(
        self,
        customer: SimCustomer | None,
        draft: Draft,
        link: Metafield | None = None,
        metafields: tuple[Metafield, ...] = (),
    ) -> SimCustomer:
        """Save a draft without problems, on a new customer if there is none."""
        now = self.now()
        written = (*metafields, link) if link is not None else metafields
        if customer is None:
            return self._create(draft, written, now)
        changed = {name: value for name, value in draft.values.items() if getattr(customer, name) != value}
        seldom = {name: value for name, value in draft.rare.items() if getattr(rare(customer), name) != value}
        new_metafields = [each for each in written if not _has(customer, each)]
        if not changed and not seldom and not new_metafields:
            return customer
        self.remember(customer.number, customer)
        tags = customer.tags
        if not self.habits.consent_stays_with_customer:
            self._drop_consents(customer, changed)
        self.people.change(customer, changed | {"updated_at": now})
        for name, value in seldom.items():
            setattr(customer.seldom(), name, value)
        for each in new_metafields:
            self.people.put_metafield(customer, each)
        self.emit_update(customer, tags)
        return customer

    @staticmethod
    def _drop_consents(customer: SimCustomer, changed: Json) -> None:
        """Drop the consents of replaced addresses; another spelling of an email is the same address."""
        facts = customer.seldom()
        if "email" in changed and (changed["email"] or "").casefold() != (customer.email or "").casefold():
            facts.email_consent = None
        if "phone" in changed:
            facts.sms_consent = None

    def emit_update(self, customer: SimCustomer, tags_before: tuple[str, ...] | None = None) -> None:
        """Emit the events of a change."""
        self.tell("CUSTOMERS_UPDATE", lambda: customer_body(customer, self.currency))
        if tags_before is not None and tags_before != customer.tags:
            self._tell_tags(customer, tags_before)

    def erase(self, customer: SimCustomer, *, quietly: bool = False) -> None:
        """Remove a customer from the shop."""
        self.remember(customer.number, customer)
        self.people.remove(customer)
        if not quietly:
            self.tell("CUSTOMERS_DELETE", lambda: deleted_body(customer.number))

    def new_metafield(self, name: tuple[str, str], value: str, type_name: str) -> Metafield:
        now = self.now()
        return Metafield(self.next_number(), *name, type_name, value, now, now)

    def shop(self) -> Json:
        name = self.domain.partition(".")[0]
        return {
            "__typename": "Shop",
            "id": gid("Shop", self.app_id),
            "name": name,
            "myshopifyDomain": self.domain,
            "primaryDomain": {
                "__typename": "Domain", "id": gid("Domain", self.app_id), "host": self.domain,
                "url": f"https://{self.domain}", "sslEnabled": True,
            },
            "ianaTimezone": "America/New_York",
            "currencyCode": self.currency,
            "plan": {"publicDisplayName": "Basic", "partnerDevelopment": False, "shopifyPlus": False},
            "customerAccountsV2": {
                "customerAccountsVersion": "NEW_CUSTOMER_ACCOUNTS", "loginLinksVisibleOnStorefrontAndCheckout": True,
                "loginRequiredAtCheckout": False, "url": f"https://{self.domain}/account",
            },
            "shopAddress": {
                "__typename": "ShopAddress", "id": gid("ShopAddress", self.app_id), "country": self.country,
                "countryCodeV2": self.country,
            },
        }  # fmt: skip

    # --- steps ----------------------------------------------------------------------------------------------------

    def _create(self, draft: Draft, metafields: tuple[Metafield, ...], now: float) -> SimCustomer:
        values = {"locale": self.primary_locale} | draft.values
        customer = SimCustomer(self.next_number(), now, now, metafields=metafields, **values)
        for name, value in draft.rare.items():
            if value != getattr(rare(customer), name):
                setattr(customer.seldom(), name, value)
        self.remember(customer.number, None)
        self.people.add(customer)
        self.tell("CUSTOMERS_CREATE", lambda: customer_body(customer, self.currency))
        if customer.tags:
            self._tell_tags(customer, ())
        return customer

    def _tell_tags(self, customer: SimCustomer, before: tuple[str, ...]) -> None:
        for tag in customer.tags:
            self.known_tags.setdefault(tag.casefold(), tag)
        added = [tag for tag in customer.tags if tag not in before]
        removed = [tag for tag in before if tag not in customer.tags]
        if added:
            self.tell("CUSTOMER_TAGS_ADDED", lambda: tags_body(customer.number, added, self.now()))
        if removed:
            self.tell("CUSTOMER_TAGS_REMOVED", lambda: tags_body(customer.number, removed, self.now()))


def _has(customer: SimCustomer, metafield: Metafield) -> bool:
    old = customer.metafield(metafield.name)
    return old is not None and (old.value, old.type) == (metafield.value, metafield.type)
