"""A tiny domain: just enough of a shop to drive the HTTP half of the simulator without the real one."""

from typing import Any

from graphql import GraphQLError


class TinyShop:
    def __init__(self, domain: str = "tiny.myshopify.com") -> None:
        self.domain = domain
        self.scopes: set[str] = set()
        self.unapproved_fields: set[str] = set()
        self.people: dict[str, dict[str, Any]] = {}

    def bulk_is_running(self) -> bool:
        return False

    def customer_set(self, input: dict[str, Any], identifier: dict[str, Any] | None = None) -> dict[str, Any]:  # noqa: A002
        if (identifier or {}).get("customId"):
            raise GraphQLError(
                "Metafield definition of type 'id' is required when using custom ids.", extensions={"code": "NOT_FOUND"}
            )
        number = len(self.people) + 1
        person = {
            "__typename": "Customer",
            "id": f"gid://shopify/Customer/{number}",
            "email": input.get("email"),
            "firstName": input.get("firstName"),
            "given": sorted(input),
            "tags": input.get("tags", []),
            "metafield": self.metafield,
        }
        self.people[person["id"]] = person
        return {"customer": person, "userErrors": []}

    def metafield(self, key: str, namespace: str | None = None) -> dict[str, Any]:
        return {"namespace": namespace, "key": key, "value": f"{namespace}.{key}"}

    def customer(self, id: str) -> dict[str, Any] | None:  # noqa: A002
        return self.people.get(id)

    def node(self, id: str) -> dict[str, Any] | None:  # noqa: A002
        return self.people.get(id)

    def nodes(self, ids: list[str]) -> list[dict[str, Any] | None]:
        return [self.people.get(each) for each in ids]

    def customers(self, first: int | None = None, **other: Any) -> dict[str, Any]:
        nodes = list(self.people.values())[: first or 0]
        page = {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None}
        search = {}
        if "query" in other:
            warnings = [{"field": "nope", "message": "Invalid search field for this query.", "code": "invalid_field"}]
            search = {"__search": {"query": other["query"], "warnings": warnings}}
        return search | {
            "nodes": nodes,
            "edges": [{"cursor": each["id"], "node": each} for each in nodes],
            "pageInfo": page,
        }

    def tags_add(self, id: str, tags: list[str]) -> dict[str, Any]:  # noqa: A002
        raise RuntimeError(f"a bug of the simulator at {id} {tags}")

    def staff_edit(self, id: str, **fields: Any) -> dict[str, Any]:  # noqa: A002
        self.people[id].update(fields)
        return self.people[id]


class Clock:
    """A clock that only moves when a test moves it."""

    def __init__(self, now: float = 1_795_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
