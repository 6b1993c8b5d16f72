"""What we ship: both files load in an empty environment, the samples in theirs, and the JSON Schemas fit all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from reconciler.settings import Loaded, Settings, json_schemas, load
from reconciler.settings.models import COLUMNS
from tests.settings.domain import SECRET

ROOT = Path(__file__).parents[2]
CONFIG, STORES = ROOT / "config/reconciler.yaml", ROOT / "stores.yaml"
SAMPLES = sorted(path for path in (ROOT / "config/samples").iterdir() if path.is_dir())
FILES = [CONFIG, STORES, *(path for sample in SAMPLES for path in sorted(sample.glob("*.yaml")))]


def schema_of(path: Path) -> dict[str, Any]:
    return json_schemas()["stores.schema.json" if path.name == "stores.yaml" else "reconciler.schema.json"]


def loaded_sample(sample: Path, tmp_path: Path) -> Loaded:
    """The sample in an environment that has whatever it asks for."""
    token = tmp_path / "token"
    token.write_text("shpat_1")
    env: dict[str, str] = {}
    for name in ("reconciler.yaml", "stores.yaml"):
        text = (sample / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(re.sub(r"\$\{file:[^}]*\}", f"${{file:{token}}}", text), encoding="utf-8")
        env |= {name: _made_up(name) for name in re.findall(r"\$\{([A-Z_]+)", text)}
    return load(tmp_path / "reconciler.yaml", tmp_path / "stores.yaml", env)


def _made_up(name: str) -> str:
    if "WEBHOOK_SECRET" in name:
        return SECRET
    if name == "PUBLIC_URL":
        return "https://parity.example"
    return "postgresql://ada:pw@db.example:5432/postgres" if name.endswith("URL") else "x1"


def test_the_shipped_files_load_in_an_empty_environment() -> None:
    loaded = load(CONFIG, STORES, {})
    assert loaded.settings.state.url == "sqlite:///var/reconciler.db"
    assert loaded.settings.clerk.webhook_secrets == ()
    assert loaded.settings.server.console_token is None
    assert loaded.settings.profiles.columns == Settings(version=1).profiles.columns
    assert [s.name for s in loaded.stores] == ["acme-us", "acme-eu"]
    assert all(s.admin_url is None and s.auth.access_token is None for s in loaded.stores)


def test_the_shipped_files_take_their_secrets_from_the_environment() -> None:
    loaded = load(CONFIG, STORES, {"ACME_US_TOKEN": "shpat_1", "CLERK_WEBHOOK_SECRET": SECRET})
    token = loaded.stores[0].auth.access_token
    assert token is not None
    assert token.get_secret_value() == "shpat_1"
    assert len(loaded.settings.clerk.webhook_secrets) == 1


def test_the_shipped_file_names_every_key_that_may_be_set() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    for section, part in Settings.model_fields.items():
        assert re.search(rf"^{section}:", text, re.MULTILINE)
        for key in getattr(part.annotation, "model_fields", {}):
            assert re.search(rf"\b{key}:", text), f"{section}.{key}"
    for column in COLUMNS:
        assert re.search(rf"^    (# )?{column}: ", text, re.MULTILINE), column


def test_the_shipped_file_of_stores_names_every_key_but_the_rare_ones() -> None:
    text = STORES.read_text(encoding="utf-8")
    for key in schema_of(STORES)["$defs"]["StoreSettings"]["properties"]:
        assert key == "accept" or re.search(rf"\b{key}:", text), key


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_each_sample_loads(sample: Path, tmp_path: Path) -> None:
    loaded = loaded_sample(sample, tmp_path)
    assert loaded.stores
    assert not [s.name for s in loaded.stores if s.auth.access_token is None and s.auth.client_id is None]


def test_the_samples_show_the_rare_policies_too(tmp_path: Path) -> None:
    stores = [store for sample in SAMPLES for store in loaded_sample(sample, tmp_path).stores]
    assert {s.on_email_conflict for s in stores} >= {"merge", "relink"}
    assert {s.on_leave for s in stores} >= {"keep", "erase"}
    assert any(s.auth.refresh_token for s in stores)
    assert any(s.accept for s in stores)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_json_schemas_accept_what_we_ship(path: Path) -> None:
    data = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    data["version"] = 1
    assert list(jsonschema_rs.validator_for(schema_of(path)).iter_errors(_typed(data))) == []


def _typed(data: Any) -> Any:
    """Plain numbers and booleans as an editor's YAML 1.2 parser has them."""
    if isinstance(data, dict):
        return {key: _typed(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_typed(value) for value in data]
    if isinstance(data, str) and re.fullmatch(r"true|false|[0-9]+|0\.[0-9]+", data):
        return json.loads(data)
    return data


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("reconciler.schema.json", {"version": 2}),
        ("reconciler.schema.json", {"version": 1, "sever": {}}),
        ("reconciler.schema.json", {"version": 1, "server": {"port": "many"}}),
        ("stores.schema.json", {"version": 1, "stores": []}),
        ("stores.schema.json", {"version": 1, "stores": [{"name": "one"}]}),
        ("stores.schema.json", {"version": 1, "defaults": {"shop": "x"}, "stores": [{"name": "a", "shop": "b"}]}),
        ("stores.schema.json", {"version": 1, "stores": [{"name": "a", "shop": "b", "on_leave": "archive"}]}),
        ("stores.schema.json", {"version": 1, "stores": [{"name": "a", "shop": "b", "trust_email": "always"}]}),
    ],
)
def test_the_json_schemas_refuse_what_is_wrong(name: str, data: dict[str, Any]) -> None:
    assert not jsonschema_rs.validator_for(json_schemas()[name]).is_valid(data)


def test_the_json_schemas_in_the_project_are_current() -> None:
    for name, schema in json_schemas().items():
        written = json.loads((ROOT / "config/schema" / name).read_text(encoding="utf-8"))
        assert written == schema, "run `make schemas`"
    assert {path.name for path in (ROOT / "config/schema").iterdir()} == set(json_schemas())
