"""A customer holds text that no database can store: that field of that user is held, and everybody else is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests import servers
from tests.stories.village import Village

MOTTO = "app.motto"
ODD = ["a\0b", "half a \ud83d"]


@pytest.fixture(params=["sqlite", "postgres"])
def village_kept_in(request: pytest.FixtureRequest, village: Village) -> Village:
    if request.param == "postgres":
        server: servers.Server = request.getfixturevalue("postgres")
        database: Callable[..., str] = request.getfixturevalue("postgres_database")
        village.settings["state"] = {"url": server.url(database(migrated=True))}
    village.store.update(fields={"note": "enforce", "last_name": "enforce"}, tags=["app-user"])
    village.store["metafields"] = {MOTTO: {"from": "image_url", "type": "single_line_text_field"}}
    for name in ("ada", "bob"):
        village.user(name, last_name="Old", note="ours", image_url=f"https://img.example.com/{name}.png")
    village.apply()
    return village


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("field", ["note", "last_name", "tags", f"metafields.{MOTTO}"])
def test_only_the_user_whose_customer_holds_it_is_held(village_kept_in: Village, field: str, odd: str) -> None:
    village = village_kept_in
    ada = village.theirs("ada")
    mend: tuple[str, dict[str, Any]] = ("edit", {field: "ours" if field == "note" else "Old"})
    if field == "tags":
        village.staff("tag", id=ada.id, tags=[odd])
        mend = ("untag", {"tags": [odd]})
    elif field.startswith("metafields."):
        namespace, key = field.split(".")[1:]
        village.staff("set_metafield", id=ada.id, namespace=namespace, key=key, value=odd)
        mend = ("delete_metafield", {"namespace": namespace, "key": key})
    else:
        village.staff("edit", id=ada.id, **{field: odd})
    village.user("bob", first_name="Robert")
    assert village("backfill", "shopify").code == 0
    plan = village.plan()
    assert [(a["clerk_user_id"], a["kind"]) for a in plan["actions"]] == [("user_bob", "update")]
    assert [(h["clerk_user_id"], h["reason"]) for h in plan["holds"]] == [("user_ada", "Unreadable")]
    assert field in plan["holds"][0]["message"]
    assert "no database can store" in plan["holds"][0]["message"]
    village.apply()
    assert village.theirs("bob").first_name == "Robert"
    assert village.mappings()["ada"]["reason"] == "Unreadable"
    assert village("explain", "user_ada").code == 0
    assert village("drift").code == 1
    village.staff(mend[0], id=ada.id, **mend[1])
    village.apply()
    village.settles()
    assert village.mappings()["ada"]["status"] == "in_sync"


@pytest.mark.parametrize("odd", ODD)
def test_what_we_do_not_manage_holds_up_nothing(village_kept_in: Village, odd: str) -> None:
    village = village_kept_in
    village.store["fields"] = {"note": "ignore", "last_name": "enforce"}
    village.apply()
    village.staff("edit", id=village.theirs("ada").id, note=odd)
    village.user("ada", first_name="Adah")
    assert village("backfill", "shopify").code == 0
    village.apply()
    assert village.theirs("ada").first_name == "Adah"
    village.settles()
