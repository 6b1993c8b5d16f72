"""The shapes of Shopify's replies, as far as we read them: whoever reads a reply takes it through one of these.

A member that is missing, or of another type, makes the reply malformed: nothing of it is taken for a blank. Members of
customers that may not be shown to us are null in the reply and named in its errors (Admin API 2026-10, read 2026-11-23).
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar

import msgspec

from reconciler.outbound.reading import MalformedError

JSON_BYTES_MAX: Final = 8_388_608  # of one reply: 32 KiB for each of 250 customers

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Gid = Annotated[str, msgspec.Meta(pattern=r"\Agid://shopify/[A-Za-z]{1,60}/[0-9]{1,20}\Z")]
CustomerGid = Annotated[str, msgspec.Meta(pattern=r"\Agid://shopify/Customer/[0-9]{1,20}\Z")]
Text = Annotated[str, msgspec.Meta(max_length=100_000)]
Word = Annotated[str, msgspec.Meta(max_length=4_096)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
CountText = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,18}\Z")] | Count


Shape = TypeVar("Shape")
_prepared: Final[set[type]] = set()
_preparing: Final = threading.Lock()


def prepare(shape: type) -> None:
    """Let msgspec read this shape's annotations, in one thread, before any thread converts to it.

    msgspec (0.22, read 2026-11-29) keeps what it reads on the class before it is complete. A second thread that uses it
    meanwhile follows a null pointer, which ends the process with SIGSEGV.
    """
    if shape in _prepared:
        return
    with _preparing:
        msgspec.json.Decoder(shape)
        _prepared.add(shape)


def shaped(value: object, shape: type[Shape]) -> Shape:
    """The value as this shape, or MalformedError. Thread-safe."""
    prepare(shape)
    try:
        return msgspec.convert(value, shape)
    except (msgspec.ValidationError, RecursionError) as error:
        raise MalformedError(str(error)[:200]) from error


def utc(at: datetime) -> datetime:
    """The same moment in UTC; at the ends of the calendar, where there is none, the same digits."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return at.replace(tzinfo=UTC)


class Part(msgspec.Struct, frozen=True, rename="camel"):
    """One object of a reply, in Shopify's names."""


# --- customers ------------------------------------------------------------------------------------------------------


class Email(Part, frozen=True):
    email_address: Text


class Phone(Part, frozen=True):
    phone_number: Text


class Metafield(Part, frozen=True):
    value: str
    type: Word
    compare_digest: Word | None = None


class CustomerNode(Part, frozen=True):
    """A customer in a point read. `tags` and the like are null only where they are not shown to us."""

    id: CustomerGid
    updated_at: Moment | None
    first_name: Text | None
    last_name: Text | None
    locale: Word | None
    note: Text | None
    tags: list[Text] | None
    can_delete: bool | None
    default_email_address: Email | None
    default_phone_number: Phone | None


class Identified(Part, frozen=True):
    id: CustomerGid


class Numbered(Part, frozen=True):
    id: Gid


class PageInfo(Part, frozen=True):
    has_next_page: bool
    end_cursor: Word | None


class Listed(Part, frozen=True):
    """A customer in a list; one of the two times is asked for."""

    id: CustomerGid
    updated_at: Moment | None = None
    created_at: Moment | None = None


class CustomerPage(Part, frozen=True):
    nodes: list[Listed]
    page_info: PageInfo


class CustomerList(Part, frozen=True):
    customers: CustomerPage | None


class CustomerCount(Part, frozen=True):
    count: Count
    precision: Word


class CustomersCount(Part, frozen=True):
    customers_count: CustomerCount | None


# --- merges ---------------------------------------------------------------------------------------------------------


class MergeError(Part, frozen=True):
    error_fields: list[Word] | None
    message: Text


class MergePreviewed(Part, frozen=True):
    resulting_customer_id: CustomerGid | None
    customer_merge_errors: list[MergeError] | None
    blocking_fields: dict[str, object] | None


class MergePreviewReply(Part, frozen=True):
    customer_merge_preview: MergePreviewed


class MergeJob(Part, frozen=True):
    status: Word
    resulting_customer_id: CustomerGid | None
    customer_merge_errors: list[MergeError] | None


class MergeJobReply(Part, frozen=True):
    customer_merge_job_status: MergeJob | None


class Job(Part, frozen=True):
    id: Word
    done: bool


# --- writes ---------------------------------------------------------------------------------------------------------


class UserError(Part, frozen=True):
    message: Text
    field: list[Word | int] | None = None
    code: Word | None = None
    element_index: int | None = None


class WrittenCustomer(Part, frozen=True):
    """A customer in the answer to a write. `email` and `phone` are deprecated, and cost nothing."""

    id: CustomerGid
    email: Text | None = None
    first_name: Text | None = None
    last_name: Text | None = None
    locale: Word | None = None
    note: Text | None = None
    phone: Text | None = None
    tags: list[Text] | None = None


class WrittenMetafield(Part, frozen=True):
    namespace: Word
    key: Word
    value: str
    owner: Identified | None = None


class Payload(Part, frozen=True):
    """What each mutation answers, and what some of them do besides."""

    user_errors: list[UserError]
    customer: WrittenCustomer | None = None
    node: WrittenCustomer | None = None
    metafields: list[WrittenMetafield] | None = None
    resulting_customer_id: CustomerGid | None = None
    job: Job | None = None
    deleted_customer_id: CustomerGid | None = None
    customer_id: CustomerGid | None = None


# --- bulk operations ------------------------------------------------------------------------------------------------


class BulkNode(Part, frozen=True):
    id: Gid
    status: Word
    error_code: Word | None
    object_count: CountText
    file_size: CountText | None
    url: Text | None
    partial_data_url: Text | None
    created_at: Moment
    completed_at: Moment | None


class BulkReply(Part, frozen=True):
    bulk_operation: BulkNode | None


class BulkPayload(Part, frozen=True):
    user_errors: list[UserError]
    bulk_operation: Numbered | None = None


class BulkListed(Part, frozen=True):
    id: Gid
    query: str


class BulkListing(Part, frozen=True):
    nodes: list[BulkListed]


class BulkRecentReply(Part, frozen=True):
    bulk_operations: BulkListing


class Parameter(Part, frozen=True):
    name: Word
    value: Text


class Target(Part, frozen=True):
    url: Text | None
    parameters: list[Parameter]


class StagePayload(Part, frozen=True):
    user_errors: list[UserError]
    staged_targets: list[Target] | None = None


# --- the shop itself ------------------------------------------------------------------------------------------------


class ShopNode(Part, frozen=True):
    name: Text
    myshopify_domain: Word


class Scope(Part, frozen=True):
    handle: Word


class Installation(Part, frozen=True):
    access_scopes: list[Scope]


class Version(Part, frozen=True):
    handle: Word
    supported: bool


class ShopIdReply(Part, frozen=True):
    shop: Numbered


class ShopFactsReply(Part, frozen=True):
    shop: ShopNode
    current_app_installation: Installation
    public_api_versions: list[Version]


class TypeName(Part, frozen=True):
    name: Word


class Enabled(Part, frozen=True):
    enabled: bool


class Capabilities(Part, frozen=True):
    unique_values: Enabled


class DefinitionNode(Part, frozen=True):
    id: Gid
    namespace: Word
    key: Word
    type: TypeName
    capabilities: Capabilities
    pinned_position: int | None


class DefinitionReply(Part, frozen=True):
    metafield_definition: DefinitionNode | None


class SubscriptionNode(Part, frozen=True):
    id: Gid
    topic: Word
    uri: Text


class SubscriptionPage(Part, frozen=True):
    nodes: list[SubscriptionNode]
    page_info: PageInfo


class SubscriptionReply(Part, frozen=True):
    webhook_subscriptions: SubscriptionPage
