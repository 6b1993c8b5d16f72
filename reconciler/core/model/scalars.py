"""The scalar fields of a customer. A field is declared here, and nowhere else.

Its line in `Scalars` says how it is read, compared, bounded and written, and its line in `FieldPolicies` who owns it if the
config does not say so. The rest of the program has no list of them: attributes of profiles and customers, columns,
comparison, fingerprints, settings, GraphQL selections, shapes of replies and refusals are derived from these two classes.

Source of Shopify's names and bounds: Admin API 2026-10, Customer and CustomerSetInput, read 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict

from reconciler.core.model.frozen import frozen

Policy = Literal["enforce", "fill", "create_only", "ignore"]
Form = Literal["name", "note", "locale", "email", "phone"]
"""How values are normalised before they are compared: a function in core/fields/normalise.py."""


@frozen
class Scalar:
    """One field. `shopify`: its name in CustomerSetInput, in refusals, and in the response to a write.

    `path`: where a read returns it, if not under that name: a member, or `MEMBER.MEMBER`. `columns`: usual names of a
    column for it, beside our own. `length_max`: in characters.
    `in_clerk`: Clerk has it. `is_identity`: Shopify requires that a customer has at least one of these.
    `has_default`: Shopify sets a value by itself when a customer is created. `is_personal`: its values identify a person.
    """

    shopify: str
    path: str = ""
    columns: tuple[str, ...] = ()
    form: Form = "name"
    length_max: int = 255
    in_clerk: bool = False
    is_identity: bool = False
    has_default: bool = False
    is_personal: bool = True

    @property
    def place(self) -> tuple[str, ...]:
        """The members that lead from a customer to the value in a read."""
        return tuple((self.path or self.shopify).split("."))


class Scalars(BaseModel):
    """The values of all scalar fields. None: there is none, or it is unknown."""

    model_config = ConfigDict(frozen=True)

    email: Annotated[
        str | None,
        Scalar(
            "email",
            path="defaultEmailAddress.emailAddress",
            columns=("email_address", "primary_email", "primary_email_address", "mail"),
            form="email",
            in_clerk=True,
            is_identity=True,
        ),
    ] = None
    first_name: Annotated[
        str | None,
        Scalar("firstName", columns=("firstname", "given_name", "forename"), in_clerk=True, is_identity=True),
    ] = None
    last_name: Annotated[
        str | None,
        Scalar("lastName", columns=("lastname", "family_name", "surname"), in_clerk=True, is_identity=True),
    ] = None
    phone: Annotated[
        str | None,
        Scalar(
            "phone",
            path="defaultPhoneNumber.phoneNumber",
            columns=("phone_number", "primary_phone", "primary_phone_number", "mobile", "telephone"),
            form="phone",
            in_clerk=True,
            is_identity=True,
        ),
    ] = None
    locale: Annotated[
        str | None,
        Scalar(
            "locale",
            columns=("preferred_locale", "language", "preferred_language", "lang"),
            form="locale",
            in_clerk=True,
            has_default=True,
            is_personal=False,
        ),
    ] = None
    note: Annotated[str | None, Scalar("note", form="note", length_max=5000)] = None

    def scalar(self, name: str) -> str | None:
        """The value of the field with this name."""
        value: str | None = getattr(self, name)
        return value

    def scalars(self) -> tuple[str | None, ...]:
        """All values, in the order of `SCALARS`."""
        return _values_in(self.__dict__)


class FieldPolicies(BaseModel):
    """Who owns each field of a customer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    email: Policy = "enforce"
    first_name: Policy = "enforce"
    last_name: Policy = "enforce"
    phone: Policy = "fill"
    locale: Policy = "ignore"
    note: Policy = "ignore"

    def of(self, name: str) -> Policy:
        """The policy of the field with this name."""
        policy: Policy = getattr(self, name)
        return policy


FIELDS: Final[Mapping[str, Scalar]] = {
    name: declared
    for name, info in Scalars.model_fields.items()
    for declared in info.metadata
    if isinstance(declared, Scalar)
}
SCALARS: Final = tuple(FIELDS)
IDENTITIES: Final = tuple(name for name, field in FIELDS.items() if field.is_identity)

FIRST: Final = frozenset({"email", "first_name", "last_name", "phone", "locale", "note"})
"""The fields of the first version; it stays as it is. A later field is in the digest of a profile only with a value, and
has no column by default: so a new version finds what an earlier one stored, and reads the tables that it read."""
LATER: Final = tuple(name for name in SCALARS if name not in FIRST)

_values_in: Final[Callable[[Mapping[str, object]], tuple[str | None, ...]]] = itemgetter(*SCALARS)
