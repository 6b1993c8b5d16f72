"""The simulator answers as recorded real stores did: all calls of all recordings, with their costs."""

import gzip
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest
from graphql import FragmentDefinitionNode, GraphQLError, OperationDefinitionNode, build_schema, parse, validate

from reconciler.simulator.graphql.costs import CostModel
from tests.simulator.replay.listed import ListError, Place, known, read_listed
from tests.simulator.replay.recordings import FOLDER, Call, are_at_hand, read_recordings
from tests.simulator.replay.replay import Outcome, Replay

needs_recordings = pytest.mark.skipif(not are_at_hand(), reason=f"no recordings in {FOLDER}")

REPLAYED: Final = {
    "customers": 395, "privacy": 34, "metafields": 663, "metafield-definitions": 12, "bulk-operations": 217,
    "webhooks": 128,
}  # fmt: skip
"""Per area how many calls are replayed at least: the others are about what isn't simulated at all."""
PRICED: Final = 1620
"""Of how many recorded calls both costs follow from the whole document, products and all, at least."""


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str], list[Outcome]]:
    """What became of each call, per recording and area."""
    return {(each.name, each.area): list(Replay(each).run()) for each in read_recordings()}


@pytest.fixture(scope="module")
def places(outcomes: dict[tuple[str, str], list[Outcome]]) -> dict[Place, str]:
    """Every place that differs, with what is there in both."""
    return {
        (name, outcome.index, each.path): f"recorded {each.recorded!r}, simulated {each.simulated!r}"
        for (name, _), found in outcomes.items()
        for outcome in found
        for each in outcome.found
    }


@needs_recordings
@pytest.mark.slow
def test_a_reply_is_the_recorded_one_or_its_difference_is_listed_with_a_reason(places: dict[Place, str]) -> None:
    listed = known()
    assert {place: both for place, both in places.items() if place not in listed} == {}


@needs_recordings
@pytest.mark.slow
def test_a_listed_difference_that_is_none_any_more_is_an_error(places: dict[Place, str]) -> None:
    assert [place for place in known() if place not in places] == []


@needs_recordings
@pytest.mark.slow
def test_no_call_drops_out_of_the_replay_unseen(outcomes: dict[tuple[str, str], list[Outcome]]) -> None:
    counts = Counter({area: 0 for _, area in outcomes})
    for (_, area), found in outcomes.items():
        counts[area] += sum(outcome.skipped is None for outcome in found)
    assert {area: counts[area] for area, least in REPLAYED.items() if counts[area] < least} == {}


@needs_recordings
@pytest.mark.slow
def test_costs_of_whole_documents_follow_the_one_rule() -> None:
    path = FOLDER.parent / "schema" / "admin_2026-01.graphql.gz"
    if not path.exists():
        pytest.skip(f"no schema in {path.parent}")
    model = Pricer(gzip.decompress(path.read_bytes()).decode())
    calls = [call for recording in read_recordings() for call in recording.calls]
    compared = [model.prices(call) for call in calls]
    assert sum(each is not None and each[0] == each[1] for each in compared) >= PRICED


@pytest.mark.parametrize(
    ("text", "said"),
    [("    2026-01/a/b 1 data.x\n", "no reason"), ("Why:\n" + "    2026-01/a/b 1 data.x\n" * 2, "listed twice")],
)
def test_the_list_names_a_place_once_and_with_a_reason(text: str, said: str) -> None:
    with pytest.raises(ListError, match=said):
        read_listed(text)


def test_every_listed_difference_has_its_reason() -> None:
    assert all(len(reason) > len("because") for reason in known().values())


class Pricer:
    """Prices recorded calls by a whole schema."""

    def __init__(self, schema: str) -> None:
        self.schema = build_schema(schema, assume_valid=True)
        self.model = CostModel(self.schema)
        self.valid: dict[str, tuple[OperationDefinitionNode, dict[str, FragmentDefinitionNode]] | None] = {}

    def prices(self, call: Call) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Requested and actual cost, recorded and computed; nothing for a call without costs or of another version."""
        cost = (call.reply.get("extensions") or {}).get("cost")
        if call.query not in self.valid:
            self.valid[call.query] = next(self.read(call.query), None)
        read = self.valid[call.query]
        if not cost or read is None:
            return None
        requested = self.model.request_cost(*read, call.variables)
        actual = min(requested, self.model.actual(*read, call.variables, call.reply.get("data")))
        return (cost["requestedQueryCost"], cost["actualQueryCost"]), (requested, actual)

    def read(self, text: str) -> Iterator[tuple[OperationDefinitionNode, dict[str, FragmentDefinitionNode]]]:
        try:
            document = parse(text)
        except GraphQLError:
            return
        if not validate(self.schema, document):
            operation = next(each for each in document.definitions if isinstance(each, OperationDefinitionNode))
            fragments = [each for each in document.definitions if isinstance(each, FragmentDefinitionNode)]
            yield operation, {each.name.value: each for each in fragments}
