"""The shapes of Shopify's replies, as far as we read them. Every reply is converted to one of these.

A missing member, or one of another type, makes the reply malformed, so it never counts as an empty value. Hidden members
of customers are null in the reply and named in its errors (Admin API 2026-10, read 2026-11-23).
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec

from reconciler.outbound.reading import MalformedError
from reconciler.shopify.api.scalars import OURS_WRITTEN, members

JSON_BYTES_MAX: Final = 8_388_608  # bound for one reply: 32 KiB for each of 250 customers

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
    """Have msgspec read this shape's annotations in one thread, before any thread converts to it.

    msgspec (0.22, read 2026-11-29) stores the type information on the class before it is complete. A second thread that
    uses it meanwhile follows a null pointer, which ends the process with SIGSEGV.
    """
    if shape in _prepared:
        return
    with _preparing:
        msgspec.json.Decoder(shape)
        _prepared.add(shape)


def as_shape(value: object, shape: type[Shape]) -> Shape:
    """The value as this shape. MalformedError if it does not fit. Thread-safe."""
    prepare(shape)
    try:
        return msgspec.convert(value, shape)
    except (msgspec.ValidationError, RecursionError) as error:
        raise MalformedError(str(error)[:200]) from error


def utc(at: datetime) -> datetime:
    """The same moment in UTC; at the ends of the calendar, where that overflows, the same digits."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return at.replace(tzinfo=UTC)


class ReplyPart(msgspec.Struct, frozen=True, rename="camel"):
    """One object of a reply, with Shopify's names."""


# --- customers ------------------------------------------------------------------------------------------------------


if TYPE_CHECKING:  # mypy does not know classes that are made when the program runs
    _Read = ReplyPart
    _Written = ReplyPart
else:
    _Read = msgspec.defstruct("_Read", members(Text), bases=(ReplyPart,), frozen=True)
    _Written = msgspec.defstruct(
        "_Written", [(name, Text | None, None) for name in OURS_WRITTEN], bases=(ReplyPart,), frozen=True, kw_only=True
    )


class MetafieldNode(ReplyPart, frozen=True):
    value: str
    type: Word
    compare_digest: Word | None = None


class CustomerNode(_Read, frozen=True):
    """A customer in a point read, with the scalar fields. `tags` is null only if it is hidden."""

    id: CustomerGid
    updated_at: Moment | None
    tags: list[Text] | None
    can_delete: bool | None


class Identified(ReplyPart, frozen=True):
    id: CustomerGid


class Numbered(ReplyPart, frozen=True):
    id: Gid


class PageInfo(ReplyPart, frozen=True):
    has_next_page: bool
    end_cursor: Word | None


class Listed(ReplyPart, frozen=True):
    """A customer in a list, with one of the two times."""

    id: CustomerGid
    updated_at: Moment | None = None
    created_at: Moment | None = None


class CustomerPage(ReplyPart, frozen=True):
    nodes: list[Listed]
    page_info: PageInfo


class CustomerList(ReplyPart, frozen=True):
    customers: CustomerPage | None


class CustomerCount(ReplyPart, frozen=True):
    count: Count
    precision: Word


class CustomersCount(ReplyPart, frozen=True):
    customers_count: CustomerCount | None


# --- merges ---------------------------------------------------------------------------------------------------------


class MergeError(ReplyPart, frozen=True):
    error_fields: list[Word] | None
    message: Text


class MergePreviewed(ReplyPart, frozen=True):
    customer_merge_errors: list[MergeError] | None
    blocking_fields: dict[str, object] | None


class MergePreviewReply(ReplyPart, frozen=True):
    customer_merge_preview: MergePreviewed


class MergeJob(ReplyPart, frozen=True):
    status: Word
    resulting_customer_id: CustomerGid | None
    customer_merge_errors: list[MergeError] | None


class MergeJobReply(ReplyPart, frozen=True):
    customer_merge_job_status: MergeJob | None


class Job(ReplyPart, frozen=True):
    id: Word
    done: bool


# --- writes ---------------------------------------------------------------------------------------------------------


class UserError(ReplyPart, frozen=True):
    message: Text
    field: list[Word | int] | None = None
    code: Word | None = None
    element_index: int | None = None


class ConsentNode(ReplyPart, frozen=True):
    """The marketing consent of an email or a phone. Shopify may add states and levels: both are words."""

    marketing_state: Word
    marketing_opt_in_level: Word | None
    marketing_updated_at: Moment | None


class WrittenCustomer(_Written, frozen=True):
    """A customer in the response to a write, with the scalar fields. There `email` and `phone` are deprecated, and free.

    The default email and phone are there only in the response to a consent.
    """

    id: CustomerGid
    tags: list[Text] | None = None
    default_email_address: ConsentNode | None = None
    default_phone_number: ConsentNode | None = None


class WrittenMetafield(ReplyPart, frozen=True):
    namespace: Word
    key: Word
    value: str
    owner: Identified | None = None


class Payload(ReplyPart, frozen=True):
    """The payload of a mutation: the errors, and the members that some mutations have."""

    user_errors: list[UserError]
    customer: WrittenCustomer | None = None
    node: WrittenCustomer | None = None
    metafields: list[WrittenMetafield] | None = None
    resulting_customer_id: CustomerGid | None = None
    job: Job | None = None
    deleted_customer_id: CustomerGid | None = None
    customer_id: CustomerGid | None = None


# --- bulk operations ------------------------------------------------------------------------------------------------


class BulkNode(ReplyPart, frozen=True):
    id: Gid
    status: Word
    error_code: Word | None
    object_count: CountText
    file_size: CountText | None
    url: Text | None
    partial_data_url: Text | None
    created_at: Moment
    completed_at: Moment | None


class BulkReply(ReplyPart, frozen=True):
    bulk_operation: BulkNode | None


class BulkPayload(ReplyPart, frozen=True):
    user_errors: list[UserError]
    bulk_operation: Numbered | None = None


class BulkListed(ReplyPart, frozen=True):
    id: Gid
    query: str


class BulkListing(ReplyPart, frozen=True):
    nodes: list[BulkListed]


class BulkRecentReply(ReplyPart, frozen=True):
    bulk_operations: BulkListing


class Parameter(ReplyPart, frozen=True):
    name: Word
    value: Text


class StagedTarget(ReplyPart, frozen=True):
    url: Text | None
    parameters: list[Parameter]


class StagePayload(ReplyPart, frozen=True):
    user_errors: list[UserError]
    staged_targets: list[StagedTarget] | None = None


# --- the shop itself ------------------------------------------------------------------------------------------------


class ShopNode(ReplyPart, frozen=True):
    name: Text
    myshopify_domain: Word


class Scope(ReplyPart, frozen=True):
    handle: Word


class Installation(ReplyPart, frozen=True):
    access_scopes: list[Scope]


class Version(ReplyPart, frozen=True):
    handle: Word
    supported: bool


class ShopIdReply(ReplyPart, frozen=True):
    shop: Numbered


class ShopFactsReply(ReplyPart, frozen=True):
    shop: ShopNode
    current_app_installation: Installation
    public_api_versions: list[Version]


class TypeName(ReplyPart, frozen=True):
    name: Word


class Enabled(ReplyPart, frozen=True):
    enabled: bool


class Capabilities(ReplyPart, frozen=True):
    unique_values: Enabled


class ValidationNode(ReplyPart, frozen=True):
    name: Word
    value: Text | None


class DefinitionNode(ReplyPart, frozen=True):
    id: Gid
    namespace: Word
    key: Word
    type: TypeName
    capabilities: Capabilities
    pinned_position: int | None
    validations: list[ValidationNode]


class DefinitionReply(ReplyPart, frozen=True):
    metafield_definition: DefinitionNode | None


class SubscriptionNode(ReplyPart, frozen=True):
    id: Gid
    topic: Word
    uri: Text


class SubscriptionPage(ReplyPart, frozen=True):
    nodes: list[SubscriptionNode]
    page_info: PageInfo


class SubscriptionReply(ReplyPart, frozen=True):
    webhook_subscriptions: SubscriptionPage
