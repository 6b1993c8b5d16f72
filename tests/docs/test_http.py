"""The page of HTTP and JSON names every endpoint, and every key that `--output json` prints."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from reconciler.core.model.action import Action, Change, Hold
from reconciler.core.plan.plan import Forecast, Plan, StorePlan, Summary
from reconciler.core.report import answer, certificate, drift, explain, status
from tests.docs.test_docs import text_of
from tests.standards.tree import modules

MODELS = (
    *(Plan, StorePlan, Summary, Forecast, Action, Change, Hold),
    *(status.ApplyResult, status.Failure, status.StatusRow, status.Replica),
    *(status.ScanProgress, status.MirrorProgress, status.BulkProgress),
    *(drift.Drift, drift.StoreDrift, drift.Finding, drift.NotRead),
    *(explain.Explained, explain.ExplainedStore, explain.ExplainedField, explain.Next, answer.Unmatched),
    certificate.Certificate,
)


def test_each_endpoint_is_on_the_page() -> None:
    text = text_of("docs/http.md")
    code = "".join(text_of(name) for name in modules() if name.startswith("reconciler/server/"))
    paths = re.findall(r"(?:\.get|\.post|add_api_route)\(\s*\"(/[^\"]*)\"", code)
    assert len(paths) > 10
    assert [path for path in paths if f" {path}`" not in text] == []


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_each_key_of_the_json_is_on_the_page(model: type[Any]) -> None:
    words = set(re.findall(r"\w+", text_of("docs/http.md")))
    assert {field.name for field in fields(model)} - words == set()
