"""The people through drt's rest_api destination: PEOPLE.json URL TOKEN REQUESTS_PER_SECOND. Says what it claims."""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

from drt.config.models import (  # type: ignore[import-not-found]  # not in our environment
    RestApiDestinationConfig,
    SyncOptions,
)
from drt.destinations.rest_api import RestApiDestination  # type: ignore[import-not-found]

SET = (
    "mutation($identifier: CustomerSetIdentifiers, $input: CustomerSetInput!) "
    "{ customerSet(identifier: $identifier, input: $input) { customer { id } userErrors { field message } } }"
)
BODY = (
    '{"query": ' + json.dumps(SET) + ', "variables": {"identifier": {"customId": {"namespace": "clerk", '
    '"key": "user_id", "value": "{{ row.clerk_user_id }}"}}, "input": {"email": "{{ row.email }}", '
    '"firstName": "{{ row.first_name }}", "lastName": "{{ row.last_name }}", "tags": ["app-user"]}}}'
)

people = json.loads(Path(sys.argv[1]).read_text())
rate = float(sys.argv[4])
config = RestApiDestinationConfig(
    type="rest_api",
    url=f"{sys.argv[2]}/admin/api/2026-10/graphql.json",
    headers={"X-Shopify-Access-Token": sys.argv[3], "Content-Type": "application/json"},
    body_template=BODY,
)
options = SyncOptions(on_error="skip", rate_limit={"requests_per_second": rate})
began = time.perf_counter()
result = RestApiDestination().load(people, config, options)
print(  # noqa: T201  its output
    json.dumps(
        {
            "version": version("drt-core"),
            "claimed": result.success,
            "claimed_failed": result.failed,
            "seconds": round(time.perf_counter() - began, 1),
        }
    )
)
