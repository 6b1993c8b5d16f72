"""What becomes of a metafield's value: the spelling that a shop keeps, and what it refuses."""

import json
from typing import Any

import pytest

from tests.simulator.harness import METAFIELDS, SimulatorHarness


def put(sim: SimulatorHarness, kind: str, value: str, **more: Any) -> Any:
    made = sim.set(firstName="Ada")["id"]
    given = {"ownerId": made, "namespace": "custom", "key": "size", "type": kind, "value": value, **more}
    return sim(METAFIELDS, m=[given])


def why(sim: SimulatorHarness, kind: str, value: str) -> tuple[str, str, int | None]:
    done = put(sim, kind, value)
    assert done["metafields"] == []
    error = done["userErrors"][0]
    return ".".join(error["field"]), error["message"], error["elementIndex"]


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        ("date_time", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        ("date_time", "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05+00:00"),
        ("date_time", "2026-01-02T03:04:05", "2026-01-02T03:04:05+00:00"),
        ("number_integer", "12", "12"),
        ("number_decimal", "1.50", "1.50"),
        ("boolean", "true", "true"),
        ("weight", '{"value": 2, "unit": "kg"}', '{"value":2.0,"unit":"KILOGRAMS"}'),
        ("list.number_integer", "[1, 2]", "[1,2]"),
    ],
)
def test_a_shop_keeps_one_spelling(sim: SimulatorHarness, kind: str, given: str, kept: str) -> None:
    done = put(sim, kind, given)
    assert done["userErrors"] == []
    assert done["metafields"][0]["value"] == kept
    again = put(sim, kind, kept)
    assert again["metafields"][0]["value"] == kept


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("json", "NaN"),
        ("json", '{"a": Infinity}'),
        ("json", "[" * 100_000 + "]" * 100_000),
        ("json", "9" * 10_000),
        ("list.number_integer", "[NaN]"),
        ("list.number_integer", "[1.5]"),
        ("weight", '{"value": NaN, "unit": "kg"}'),
        ("weight", '{"value": ' + "9" * 400 + ', "unit": "kg"}'),
        ("weight", '{"value": -1, "unit": "kg"}'),
        ("weight", "[]"),
        ("money", '{"amount": "NaN", "currency_code": "USD"}'),
        ("money", '{"amount": {}, "currency_code": "USD"}'),
        ("rating", '{"value": "NaN", "scale_min": "1", "scale_max": "5"}'),
        ("rating", "3"),
        ("number_integer", "1e3"),
        ("number_decimal", "Infinity"),
        ("date_time", "2026-13-01T00:00:00Z"),
        ("boolean", "maybe"),
    ],
)
def test_odd_values_are_refused_and_are_no_bugs(sim: SimulatorHarness, kind: str, value: str) -> None:
    place, message, _ = why(sim, kind, value)
    assert place == "metafields.0.value"
    assert message.startswith("Value ")


def test_only_an_element_of_a_list_has_an_index(sim: SimulatorHarness) -> None:
    assert why(sim, "number_integer", "x")[2] is None
    assert why(sim, "list.number_integer", '[1, "x"]')[2] == 1
    assert why(sim, "list.number_integer", json.dumps(list(range(129))))[2] is None
    assert why(sim, "list.number_integer", "{}")[2] is None


def test_what_is_kept_can_be_shown_as_json(sim: SimulatorHarness) -> None:
    made = sim.set(firstName="Ada")["id"]
    text = 'query($id: ID!) { customer(id: $id) { metafield(namespace: "custom", key: "size") { jsonValue } } }'
    for kind, value, shown in (
        ("weight", '{"value": 2, "unit": "kg"}', {"value": 2, "unit": "KILOGRAMS"}),
        ("json", '{"a": [1, null]}', {"a": [1, None]}),
        ("list.number_integer", "[1]", [1]),
    ):
        given = {"ownerId": made, "namespace": "custom", "key": "size", "type": kind, "value": value}
        sim.shop.people.take_metafield(sim.shop.people.by_number[int(made.rpartition("/")[2])], ("custom", "size"))
        assert sim(METAFIELDS, m=[given])["userErrors"] == []
        assert sim(text, id=made) == {"metafield": {"jsonValue": shown}}


@pytest.mark.parametrize("namespace", ["shopify_standard", "shopify-l10n-fields"])
def test_reserved_namespaces_are_closed(sim: SimulatorHarness, namespace: str) -> None:
    done = put(sim, "single_line_text_field", "x", namespace=namespace)
    error = done["userErrors"][0]
    assert (done["metafields"], error["code"]) == ([], None)
    assert error["message"] == f"Namespace {namespace} is a reserved namespace"


def test_another_apps_namespace_is_closed(sim: SimulatorHarness) -> None:
    done = put(sim, "single_line_text_field", "x", namespace="app--99--theirs")
    error = done["userErrors"][0]
    assert (done["metafields"], error["field"]) == ([], ["metafields", "0"])
    assert error["code"] == "APP_NOT_AUTHORIZED"


def test_a_definition_limits_values_and_pins_are_few(sim: SimulatorHarness) -> None:
    limits = [{"name": "min", "value": "2"}, {"name": "max", "value": "3"}]
    done = sim.define(namespace="custom", key="size", type="number_integer", validations=limits)
    assert done["userErrors"] == []
    assert why(sim, "number_integer", "1")[1] == "Value has a minimum of 2."
    assert why(sim, "number_integer", "4")[1] == "Value has a maximum of 3."
    for number in range(50):
        assert sim.define(key=f"pinned_{number}", type="url", pin=True)["userErrors"] == []
    one_more = sim.define(key="pinned_50", type="url", pin=True)["userErrors"]
    assert [each["code"] for each in one_more] == ["PINNED_LIMIT_REACHED"]


MEASURE = '{{"value": {}, "unit": "{}"}}'


@pytest.mark.parametrize(
    ("type_name", "limit", "kept", "refused"),
    [
        ("single_line_text_field", ("choices", '["gold"]'), "gold", "lead"),
        ("multi_line_text_field", ("regex", "^[a-z]+$"), "abc", "ABC"),
        ("number_decimal", ("max_precision", "2"), "1.25", "1.255"),
        ("date_time", ("min", "2026-01-01T00:00:00"), "2026-01-02T00:00:00", "2025-01-02T00:00:00"),
        ("list.single_line_text_field", ("list.max", "2"), '["a", "b"]', '["a", "b", "c"]'),
        ("list.number_integer", ("list.min", "2"), "[1, 2]", "[1]"),
        ("dimension", ("max", MEASURE.format(10, "CENTIMETERS")), MEASURE.format(10, "cm"), MEASURE.format(11, "cm")),
        ("weight", ("min", MEASURE.format(1, "GRAMS")), MEASURE.format(1, "g"), MEASURE.format(0.5, "g")),
        ("url", ("allowed_domains", '["acme.com"]'), "https://acme.com/x", "https://acme.com.evil.com/x"),
        ("link", ("allowed_domains", '["a.com"]'), '{"text":"x","url":"https://a.com"}', '{"text":"x","url":"/x"}'),
    ],
)
def test_each_validation_of_a_definition_limits_values(
    sim: SimulatorHarness, type_name: str, limit: tuple[str, str], kept: str, refused: str
) -> None:
    limits = [dict(zip(("name", "value"), limit, strict=True))]
    assert sim.define(namespace="custom", key="size", type=type_name, validations=limits)["userErrors"] == []
    assert put(sim, type_name, kept)["userErrors"] == []
    assert [each["code"] for each in put(sim, type_name, refused)["userErrors"]] == ["INVALID_VALUE"]


@pytest.mark.parametrize(
    ("type_name", "name", "value"),
    [("list.url", "list.max", "x"), ("weight", "max", "7"), ("id", "regex", "["), ("url", "allowed_domains", "x")],
)
def test_a_validation_without_a_meaning_is_refused(
    sim: SimulatorHarness, type_name: str, name: str, value: str
) -> None:
    (error,) = sim.define(key="size", type=type_name, validations=[{"name": name, "value": value}])["userErrors"]
    assert error["code"] == "INVALID_OPTION"


@pytest.mark.parametrize("phone", ["call 6135550100", "5550100", "+1 613 555 01x0"])
def test_letters_and_local_numbers_are_no_phones(sim: SimulatorHarness, phone: str) -> None:
    assert [message for _, message, _ in sim.refused(lastName="Ada", phone=phone)] == ["Phone is invalid"]
