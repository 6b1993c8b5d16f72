"""Actions of people in Shopify's admin and at the checkout, for tests and demos.

Actions take names such as `first_name` and return the customer. ValueError for an invalid argument.
"""

from typing import Any

from reconciler.simulator.customers.mutations import consent_moment
from reconciler.simulator.customers.normalisation import split_tags
from reconciler.simulator.customers.reading.views import CustomerView
from reconciler.simulator.customers.records import SimConsent, SimCustomer, SimMerge
from reconciler.simulator.customers.validation import INPUT_FIELDS, examine
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import gid, offset_iso
from reconciler.simulator.webhooks.bodies import customer_body, merge_body
from reconciler.simulator.webhooks.subscriptions import Subscriptions


class Staff(Subscriptions):
    def staff_create(self, **fields: Any) -> CustomerView:
        """Create a customer: email, first_name, last_name, phone, note, tags, locale, tax_exempt, addresses."""
        return CustomerView(self, self._save(None, fields))

    def staff_edit(self, id: str, **fields: Any) -> CustomerView:  # noqa: A002 - as in Shopify
        """Change fields; None clears one."""
        return CustomerView(self, self._save(self._known(id), fields))

    def staff_tag(self, id: str, tags: list[str] | str) -> CustomerView:  # noqa: A002 - as in Shopify
        self._answer(self.tags_add(id=self._gid(id), tags=_list(tags)), "node")
        return CustomerView(self, self._known(id))

    def staff_untag(self, id: str, tags: list[str] | str) -> CustomerView:  # noqa: A002 - as in Shopify
        self._answer(self.tags_remove(id=self._gid(id), tags=_list(tags)), "node")
        return CustomerView(self, self._known(id))

    def staff_delete(self, id: str) -> str:  # noqa: A002 - as in Shopify
        return str(self._answer(self.customer_delete(input={"id": self._gid(id)}), "deletedCustomerId"))

    def staff_set_metafield(
        self, id: str, namespace: str, key: str, value: str, type: str | None = None  # noqa: A002 - as in Shopify
    ) -> CustomerView:  # fmt: skip
        given = {"ownerId": self._gid(id), "namespace": namespace, "key": key, "value": value, "type": type}
        self._answer(self.metafields_set(metafields=[given]), "metafields")
        return CustomerView(self, self._known(id))

    def staff_delete_metafield(self, id: str, namespace: str, key: str) -> CustomerView:  # noqa: A002 - as in Shopify
        customer = self._known(id)
        if customer.metafield((namespace, key)) is None:
            raise ValueError(f"customer {id} has no metafield {namespace}.{key}")
        self.remove_metafield(customer, (namespace, key))
        return CustomerView(self, customer)

    def staff_guest_checkout(self, email: str, **fields: Any) -> CustomerView:
        """A guest buys: the customer with this email, created if necessary, gets one more order."""
        customer = self.people.with_email(email) or self._save(None, {"email": email, **fields})
        return self.staff_order(gid("Customer", customer.number))

    def staff_order(self, id: str, count: int = 1) -> CustomerView:  # noqa: A002 - as in Shopify
        """A customer buys, and can no longer be deleted."""
        customer = self._known(id)
        self.remember(customer.number, customer)
        facts = customer.seldom()
        facts.had_orders, facts.last_order_at = True, self.now()
        self.people.change(customer, {"orders": customer.orders + count, "updated_at": self.now()})
        self.emit_update(customer)
        return CustomerView(self, customer)

    def staff_merge(self, keep: str, other: str) -> CustomerView:
        """Merge two customers immediately; staff choose in the dialogue which one remains."""
        winner, loser = self._known(keep), self._known(other)
        if winner is loser:
            raise ValueError("Customers IDs should not match")
        blocked = self._blocked(winner, loser, {})
        if blocked:
            raise ValueError("; ".join(each.message for each in blocked))
        merge = SimMerge(gid("Job", self.next_number()), winner.number, loser.number, self.now(), {}, "COMPLETED")
        self.merges[merge.job] = merge
        self.merge_now(winner, loser, {})
        self.tell("CUSTOMERS_MERGE", lambda: merge_body(merge, "completed"))
        return CustomerView(self, winner)

    def staff_redact(self, id: str) -> CustomerView:  # noqa: A002 - as in Shopify
        """Erase the customer's data now, requested or not."""
        customer = self._known(id)
        self.redact(customer)
        return CustomerView(self, customer)

    def staff_state(self, id: str, state: str) -> CustomerView:  # noqa: A002 - as in Shopify
        """Set the state of a classic account: DISABLED, INVITED, ENABLED or DECLINED."""
        if state not in {"DISABLED", "INVITED", "ENABLED", "DECLINED"}:
            raise ValueError(f"unknown state {state}")
        customer = self._known(id)
        self.remember(customer.number, customer)
        self.people.change(customer, {"state": state, "updated_at": self.now()})
        if state in {"ENABLED", "DISABLED"}:
            topic = "CUSTOMERS_ENABLE" if state == "ENABLED" else "CUSTOMERS_DISABLE"
            self.tell(topic, lambda: customer_body(customer, self.currency))
        return CustomerView(self, customer)

    def staff_consent(
        self, id: str, channel: str, state: str, level: str | None = None, at: str | None = None  # noqa: A002 - as in Shopify
    ) -> CustomerView:  # fmt: skip
        """Set the marketing consent of the email or the phone, as the customer, staff or Shopify itself does: any state.

        `at` None: now; "": never, as a record of old.
        """
        customer = self._known(id)
        kind = {"email": "EMAIL", "sms": "SMS"}.get(channel)
        if kind is None or (customer.email if kind == "EMAIL" else customer.phone) is None:
            raise ValueError(f"customer {id} has no consent {channel}")
        moment = None if at == "" else consent_moment({"consentUpdatedAt": at}, self.now())
        self.set_consent(customer, SimConsent(state, level, moment), kind)
        return CustomerView(self, customer)

    def staff_block_merge(self, id: str, fields: list[str]) -> CustomerView:  # noqa: A002 - as in Shopify
        """Set what forbids merges of a customer: GIFT_CARDS, SUBSCRIPTIONS, STORE_CREDIT and others."""
        customer = self._known(id)
        customer.seldom().blockers = frozenset(fields)
        return CustomerView(self, customer)

    def staff_delete_order(self, id: str) -> CustomerView:  # noqa: A002 - as in Shopify
        """Delete an order. The customer still counts as having bought."""
        customer = self._known(id)
        if customer.orders == 0:
            raise ValueError(f"customer {id} has no order")
        self.remember(customer.number, customer)
        customer.seldom().had_orders = True
        self.people.change(customer, {"orders": customer.orders - 1, "updated_at": self.now()})
        self.emit_update(customer)
        return CustomerView(self, customer)

    def staff_data_request(self, id: str) -> CustomerView:  # noqa: A002 - as in Shopify
        """The customer requests their data: emits customers/data_request to the app's own address."""
        customer = self._known(id)
        request = self.next_number()
        self.tell(
            "CUSTOMERS_DATA_REQUEST",
            lambda: {
                "shop_id": self.app_id,
                "shop_domain": self.domain,
                "orders_requested": [],
                "customer": {"id": customer.number, "email": customer.email, "phone": customer.phone},
                "data_request": {"id": request},
            },
        )
        return CustomerView(self, customer)

    def staff_scopes(self, scopes: list[str]) -> Json:
        """Grant the app exactly these access scopes."""
        before, self.scopes = sorted(self.scopes), set(scopes)
        body = {"id": self.app_id, "previous": before, "current": sorted(scopes), "updated_at": offset_iso(self.now())}
        self.tell("APP_SCOPES_UPDATE", lambda: body)
        return {"scopes": sorted(self.scopes)}

    def staff_unapprove(self, fields: list[str]) -> Json:
        """Revoke the approval for these fields of protected customer data; without fields, approve all."""
        self.unapproved_fields = set(fields)
        return {"unapproved_fields": sorted(fields)}

    def staff_rename(self, domain: str) -> Json:
        """Change the shop's myshopify name; its gid remains. In a world of shops use `World.rename_shop`."""
        self.domain = domain
        body = {"id": self.app_id, "name": self.shop()["name"], "domain": domain, "myshopify_domain": domain}
        self.tell("SHOP_UPDATE", lambda: body)
        return {"domain": domain}

    def staff_uninstall(self) -> Json:
        """Remove the app: emits app/uninstalled, then deletes its subscriptions. Tokens: see `control.py`."""
        name = self.shop()["name"]
        body = {"id": self.app_id, "domain": self.domain, "myshopify_domain": self.domain, "name": name}
        self.tell("APP_UNINSTALLED", lambda: body)
        told = [each for each in self.subscriptions.values() if each.topic != "APP_UNINSTALLED"]
        for each in told:
            del self.subscriptions[each.number]
        return {"removed": len(told)}

    # --- steps ----------------------------------------------------------------------------------------------------

    def _save(self, customer: SimCustomer | None, fields: Json) -> SimCustomer:
        given = {_input_name(name): value for name, value in fields.items()}
        unknown = sorted(given.keys() - INPUT_FIELDS)
        if unknown:
            raise ValueError(f"a customer has no field {', '.join(unknown)}")
        draft = examine(self, customer, given)
        if draft.problems:
            raise ValueError("; ".join(each.message for each in draft.problems))
        return self.save(customer, draft)

    def _known(self, identifier: str) -> SimCustomer:
        customer = self.find(self._gid(identifier))
        if customer is None:
            raise ValueError(f"there is no customer {identifier} in {self.domain}")
        return customer

    def _gid(self, identifier: str | int) -> str:
        """The gid, also from a number."""
        return gid("Customer", int(identifier)) if str(identifier).isdigit() else str(identifier)

    def _answer(self, reply: Json, name: str) -> Any:
        if reply["userErrors"]:
            raise ValueError("; ".join(each["message"] for each in reply["userErrors"]))
        return reply[name]


def _list(tags: list[str] | str) -> list[str]:
    return split_tags([tags] if isinstance(tags, str) else tags)


def _input_name(name: str) -> str:
    """Shopify's name of a field: `first_name` is `firstName`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
