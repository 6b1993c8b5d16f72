"""A simulated shop without HTTP before it: real GraphQL documents, run as `app.py` runs them."""

from typing import Any

import pytest

from reconciler.simulator.graphql.documents import RefusedError, prepare, runnable
from reconciler.simulator.graphql.execution import Execution
from reconciler.simulator.shop import Shop
from reconciler.simulator.world import ALL_SCOPES
from tests.simulator.domain import Clock

LINK = {"namespace": "clerk", "key": "user_id"}
CUSTOMER = "id email firstName lastName phone note tags locale updatedAt"
SET = f"""mutation($n: CustomerSetIdentifiers, $i: CustomerSetInput!) {{
  customerSet(identifier: $n, input: $i) {{ customer {{ {CUSTOMER} }} userErrors {{ field message code }} }} }}"""
CREATE = f"""mutation($i: CustomerInput!) {{
  customerCreate(input: $i) {{ customer {{ {CUSTOMER} }} userErrors {{ field message }} }} }}"""
UPDATE = f"""mutation($i: CustomerInput!) {{
  customerUpdate(input: $i) {{ customer {{ {CUSTOMER} }} userErrors {{ field message }} }} }}"""
DELETE = """mutation($id: ID!) {
  customerDelete(input: {id: $id}) { deletedCustomerId userErrors { field message } } }"""
FIND = f"""query($n: CustomerIdentifierInput!) {{
  customerByIdentifier(identifier: $n) {{
    {CUSTOMER} canDelete numberOfOrders state
    link: metafield(namespace: "clerk", key: "user_id") {{ id value type compareDigest }}
    defaultEmailAddress {{ emailAddress marketingState marketingOptInLevel }}
    defaultPhoneNumber {{ phoneNumber marketingState }} }} }}"""
METAFIELDS = """mutation($m: [MetafieldsSetInput!]!) {
  metafieldsSet(metafields: $m) {
    metafields { id namespace key value type compareDigest }
    userErrors { field message code elementIndex } } }"""
DEFINE = """mutation($d: MetafieldDefinitionInput!) {
  metafieldDefinitionCreate(definition: $d) {
    createdDefinition { id namespace key type { name } pinnedPosition capabilities { uniqueValues { enabled } } }
    userErrors { field message code } } }"""


class SimulatorHarness:
    """`sim(document, **variables)` gives the one root field's value, and refuses replies with errors."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.shop = Shop("harness.myshopify.com", clock=self.clock, **options)
        self.shop.scopes = set(ALL_SCOPES)

    def reply(self, text: str, **variables: Any) -> dict[str, Any]:
        try:
            document = runnable(prepare(text), variables)
        except RefusedError as refused:
            return {"errors": refused.errors}
        return Execution(self.shop, {}).run(document, variables, "request-1")

    def __call__(self, text: str, **variables: Any) -> Any:
        reply = self.reply(text, **variables)
        assert "errors" not in reply, reply["errors"]
        return next(iter(reply["data"].values()))

    def error(self, text: str, **variables: Any) -> tuple[str, str]:
        """Code and message of the one top-level error."""
        errors = self.reply(text, **variables)["errors"]
        assert len(errors) == 1, errors
        return errors[0]["extensions"]["code"], errors[0]["message"]

    def define(self, **more: Any) -> Any:
        link = {"name": "Clerk user", "ownerType": "CUSTOMER", "type": "id", **LINK, **more}
        return self(DEFINE, d=link)

    def set(self, identifier: dict[str, Any] | None = None, **fields: Any) -> Any:
        """The customer that customerSet answers with; no errors allowed."""
        done = self(SET, n=identifier, i=fields)
        assert done["userErrors"] == [], done["userErrors"]
        return done["customer"]

    def refused(self, identifier: dict[str, Any] | None = None, **fields: Any) -> list[tuple[Any, str, str]]:
        """Path, message and code of what customerSet says against it."""
        done = self(SET, n=identifier, i=fields)
        assert done["customer"] is None
        return [(each["field"], each["message"], each["code"]) for each in done["userErrors"]]

    def find(self, **identifier: Any) -> Any:
        return self(FIND, n=identifier)

    def linked(self, user: str) -> Any:
        return self.find(customId={**LINK, "value": user})


def by_link(user: str) -> dict[str, Any]:
    return {"customId": {**LINK, "value": user}}


@pytest.fixture
def sim() -> SimulatorHarness:
    return SimulatorHarness()
