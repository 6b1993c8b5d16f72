"""Replays one recording on a fresh simulated shop, call by call."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reconciler.simulator.customers.records import SimDefinition
from reconciler.simulator.graphql.calls import answer, read_call
from reconciler.simulator.world import SimShop, World
from tests.simulator.domain import Clock
from tests.simulator.replay.bulk import BulkStage
from tests.simulator.replay.comparison import Difference, differences
from tests.simulator.replay.ids import Ids, ids_in
from tests.simulator.replay.people import PLACEHOLDER, definitions_before, facts_of
from tests.simulator.replay.recordings import Call, Json, Recording
from tests.simulator.replay.trimming import Trimmed, can_be_read, trim

TOKEN: Final = "token"
KINDS: Final = frozenset(
    {
        "BulkOperation", "Customer", "Job", "MailingAddress", "Metafield", "MetafieldDefinition", "Shop",
        "WebhookSubscription",
    }
)  # fmt: skip
"""What the simulator has ids of."""
STEP_S: Final = 10.0
"""Between two calls: long enough for a merge to be done."""
LAG_S: Final = 1e9
"""The search index heard of nothing while a recording was made."""
APP_ID: Final = 347_082_227_713
"""Of the app that made the recordings."""
WAITED: Final = frozenset(
    {
        "customer-bounded-overlay-refill", "customer-create-name-identity", "customer-live-hybrid-overlay",
        "customers-keyed-search-filters", "customer-merge-attached-resources-parity",
        "data-sale-opt-out-new-customer-defaults",
    }
)  # fmt: skip
"""Recordings that waited until the index had heard of everybody."""
COSTS: Final = ("requestedQueryCost", "actualQueryCost")
ACCESS: Final = {"admin": "PUBLIC_READ_WRITE", "storefront": "NONE", "customerAccount": "NONE"}
ABSENT: Final = "(absent)"
_NOT_THERE: Final = re.compile(r"does not exist|can't be found|not found|Invalid id|non-existent", re.IGNORECASE)


@dataclass(slots=True)
class Outcome:
    """What became of one call: skipped for a reason, or replayed with these differences."""

    index: int
    call: Call
    root: str
    skipped: str | None = None
    cut: tuple[str, ...] = ()
    costs_compared: bool = False
    found: list[Difference] = field(default_factory=list)


class Replay:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.clock = Clock()
        self.world = World(self.clock)
        self.sim: SimShop = self.world.add_shop(
            "recorded.myshopify.com", access_token=TOKEN, bucket_size=1_000_000, restore_rate=1_000_000, country="CA"
        )
        self.sim.shop.search_lag_s = 0.0 if recording.name.rpartition("/")[2] in WAITED else LAG_S
        self.sim.shop.app_id = APP_ID
        self.sim.shop.webhook_api_version = "2026-07"
        self.sim.shop.habits.loopback_callbacks = False
        self.ids = Ids()
        self.bulk = BulkStage(self.sim.shop, self.ids) if recording.area == "bulk-operations" else None
        self.facts = facts_of(recording)
        self.named: dict[str, str] = {}
        """The recorded id that a placeholder replaces."""
        self.places: list[str] = []

    def run(self) -> Iterator[Outcome]:
        for number, facts in definitions_before(self.recording):
            self.define(number, facts)
        for index, call in enumerate(self.recording.calls):
            self.clock.now += STEP_S
            prepared = call if self.bulk is None else self.bulk.prepared(call)
            yield self.one(index, self.filled(prepared))

    def one(self, index: int, call: Call) -> Outcome:
        """Replay one call, or say why that can't be."""
        root = _root(call.query)
        outcome = Outcome(index, call, root)
        if not can_be_read(call.query):
            return self.compared(outcome, call.query, call.variables, None)
        is_refused = "data" not in call.reply
        trimmed = trim(call.query)
        if trimmed is None or (is_refused and root in trimmed.cut):
            outcome.skipped = f"{root} is not simulated"
            self.stand_in_for_made(call)
            return outcome
        strange = {each.split("/")[3] for each in ids_in(_without_values(call.variables))} - KINDS
        if strange:
            outcome.skipped = f"names a {', '.join(sorted(strange))}"
            return outcome
        if not is_refused and not trimmed.required <= set(call.variables):
            outcome.skipped = "recorded without its variables"
            return outcome
        self.stand_in_for_named(call)
        text = call.query if is_refused else trimmed.text
        variables = call.variables if is_refused else trimmed.fitting(call.variables)
        outcome.cut = trimmed.cut
        return self.compared(outcome, text, variables, None if is_refused else trimmed)

    def compared(self, outcome: Outcome, text: str, variables: Json, trimmed: Trimmed | None) -> Outcome:
        recorded = outcome.call.reply
        simulated = self.send(self.ids.translate(text), self.ids.translate(variables))
        theirs: Json = {"errors": [_error(each) for each in recorded.get("errors", ())]}
        ours: Json = {"errors": [_error(each) for each in simulated.get("errors", ())]}
        data = recorded.get("data", ABSENT)
        theirs["data"] = data if trimmed is None else trimmed.project(data)
        ours["data"] = simulated.get("data", ABSENT)
        extensions, given = recorded.get("extensions") or {}, simulated.get("extensions") or {}
        theirs["search"], ours["search"] = extensions.get("search"), given.get("search")
        if extensions.get("cost") is not None and (trimmed is None or not trimmed.cut_objects):
            outcome.costs_compared = True
            theirs["cost"] = {name: extensions["cost"].get(name) for name in COSTS}
            ours["cost"] = {name: (given.get("cost") or {}).get(name) for name in COSTS}
            if trimmed is not None:
                ours["cost"]["actualQueryCost"] = self.price(trimmed, variables, theirs["data"])
        outcome.found = list(differences(theirs, ours, self.ids))
        return outcome

    def price(self, trimmed: Trimmed, variables: Json, data: Any) -> int:
        """What the simulated shop would charge for the recorded reply."""
        costs = self.sim.costs
        requested = costs.request_cost(trimmed.operation, trimmed.fragments, variables)
        return min(requested, costs.actual(trimmed.operation, trimmed.fragments, variables, data))

    def send(self, text: str, variables: Json) -> Json:
        body = json.dumps({"query": text, "variables": variables}).encode()
        call = read_call("application/json", body, TOKEN, "request")
        reply: Json = json.loads(bytes(answer(self.world, self.sim, call, None).response.body))
        return reply

    # --- what was not recorded ------------------------------------------------------------------------------------

    def filled(self, call: Call) -> Call:
        """The call with the id that its reply is about where a placeholder or nothing was recorded."""
        named = [each for each in ids_in(call.reply.get("data")) if each.split("/")[3] == "Customer"]
        known = named + list(self.facts)
        places = [each for each in ids_in(call.reply.get("data")) if each.split("/")[3] == "MailingAddress"]
        text = json.dumps(call.variables)
        if known and PLACEHOLDER.search(text):
            place = f"{(places or self.places or [''])[0]}?model_name=CustomerAddress"
            filled = PLACEHOLDER.sub(
                lambda found: place if "address" in found[0] else self.person(found[0], known), text
            )
            call = replace(call, variables=json.loads(filled))
        self.places += places
        if named and "$id: ID!" in call.query and call.variables.get("id") is None:
            return replace(call, variables=call.variables | {"id": named[0]})
        if named and "CustomerDeleteInput!" in call.query and not call.variables:
            return replace(call, variables={"input": {"id": named[0]}})
        return call

    def define(self, recorded: str, facts: Json) -> None:
        """A definition that was there before."""
        shop = self.sim.shop
        name = (facts["ownerType"], facts["namespace"], facts["key"])
        made = SimDefinition(
            shop.next_number(), *name, facts["type"], facts["name"] or facts["key"], facts["description"]
        )
        made.access, made.pinned_position = dict(ACCESS), facts["pinnedPosition"]
        shop.definitions[name] = made
        self.ids.bind(recorded, f"gid://shopify/MetafieldDefinition/{made.number}")

    def person(self, placeholder: str, known: list[str]) -> str:
        """The customer that a placeholder means: the one of the reply, or the next that has no placeholder yet."""
        if placeholder not in self.named:
            free = [each for each in known if each not in self.named.values()]
            self.named[placeholder] = (free or known)[0]
        return self.named[placeholder]

    def stand_in_for_made(self, call: Call) -> None:
        """Something that is not simulated was made, and is the owner of metafields from now on: a customer here."""
        for each in ids_in(call.reply.get("data")):
            if each.split("/")[3] == "Customer" and each not in self.ids:
                self.stand_in(each)
        self.side_effect(call)

    def side_effect(self, call: Call) -> None:
        """What a call that is not simulated does to a customer."""
        named = [each for each in ids_in(call.variables) if each.split("/")[3] == "Customer"]
        customer = self.ids.translate(named[0]) if named else None
        if customer is not None and "giftCardCreate" in call.query:
            self.sim.shop.staff_block_merge(customer, ["GIFT_CARDS"])
        elif customer is not None and "orderCreate" in call.query:
            self.sim.shop.staff_order(customer)

    def stand_in_for_named(self, call: Call) -> None:
        """A customer who was made before the recording began."""
        for each in ids_in([call.variables, call.query]):
            if each.split("/")[3] == "Customer" and each not in self.ids and not _says_gone(call):
                self.stand_in(each)

    def stand_in(self, recorded: str) -> None:
        facts = dict(self.facts.get(recorded, {}))
        orders, metafields = int(facts.pop("orders", 0)), facts.pop("metafields", ())
        state, places = facts.pop("state", None), facts.pop("places", ())
        if not any(facts.get(name) for name in ("email", "phone", "first_name", "last_name")):
            facts = {**facts, "last_name": "Stand-in"}
        shop = self.sim.shop
        made = str(shop.staff_create(**facts)["id"])
        self.ids.bind(recorded, made)
        if orders:
            shop.staff_order(made, orders)
        if state:
            shop.staff_state(made, state)
        for each in metafields:
            shop.staff_set_metafield(made, each["namespace"], each["key"], each["value"], each["type"])
        for theirs, ours in zip(places, shop.find(made).seldom().addresses, strict=False):  # type: ignore[union-attr]
            self.ids.bind(theirs, f"gid://shopify/MailingAddress/{ours.number}")


def _without_values(variables: Any) -> Any:
    """Variables without the values of metafields, which may refer to anything."""
    if isinstance(variables, list):
        return [_without_values(each) for each in variables]
    if isinstance(variables, dict):
        return {name: _without_values(each) for name, each in variables.items() if name != "value"}
    return variables


def _says_gone(call: Call) -> bool:
    text = json.dumps(call.reply)
    data = call.reply.get("data") or {}
    return bool(_NOT_THERE.search(text)) or all(each is None for each in data.values())


def _error(error: Json) -> Json:
    """Without the places in the text, which was indented otherwise when it was sent."""
    return {name: value for name, value in error.items() if name != "locations"}


def _root(text: str) -> str:
    found = re.search(r"\{\s*(?:\w+\s*:\s*)?(\w+)", text)
    return found[1] if found else "?"
