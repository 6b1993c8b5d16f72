"""The people through a dlt pipeline into a sink, as its docs describe one: PEOPLE.json URL TOKEN. Says what it claims."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt  # type: ignore[import-not-found]  # not in our environment
from dlt.sources.helpers import requests  # type: ignore[import-not-found]

SET = (
    "mutation($identifier: CustomerSetIdentifiers, $input: CustomerSetInput!) "
    "{ customerSet(identifier: $identifier, input: $input) { customer { id } userErrors { field message } } }"
)
people = json.loads(Path(sys.argv[1]).read_text())
url, token = sys.argv[2], sys.argv[3]


@dlt.resource(name="customers", primary_key="clerk_user_id", write_disposition="merge")  # type: ignore[untyped-decorator]
def customers() -> Iterator[Any]:
    yield from people


@dlt.destination(batch_size=10, name="shop", naming_convention="direct")  # type: ignore[untyped-decorator]
def shop(items: Any, table: Any) -> None:
    for row in items:
        custom_id = {"namespace": "clerk", "key": "user_id", "value": row["clerk_user_id"]}
        fields = {
            "email": row["email"], "firstName": row["first_name"], "lastName": row["last_name"], "tags": ["app-user"],
        }  # fmt: skip
        response = requests.post(
            f"{url}/admin/api/2026-10/graphql.json",
            json={"query": SET, "variables": {"identifier": {"customId": custom_id}, "input": fields}},
            headers={"X-Shopify-Access-Token": token},
        )
        response.raise_for_status()


pipeline = dlt.pipeline(pipeline_name="bench", destination=shop, pipelines_dir=str(Path.cwd() / "pipelines"))
began = time.perf_counter()
info = pipeline.run(customers())
failed = info.has_failed_jobs
rows = pipeline.last_trace.last_normalize_info.row_counts.get("customers", 0)
print(  # noqa: T201  its output
    json.dumps(
        {
            "version": dlt.__version__,
            "claimed": 0 if failed else rows,
            "claimed_failed": rows if failed else 0,
            "seconds": round(time.perf_counter() - began, 1),
        }
    )
)
