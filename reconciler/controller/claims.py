"""Who else claims the emails of users: all of them, or of many some that suffice for the decision."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, Protocol

from reconciler.core.decide.patch import keeps_its_email
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import is_wanted, spec_of
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import NAMED_MAX
from reconciler.core.model.spec import Spec
from reconciler.core.model.store import Store
from reconciler.core.model.view import Rival, Subject
from reconciler.ports import MappingReader, ProfileReader

RIVALS_MAX: Final = NAMED_MAX + 2  # of each sort: the user may be one of them, and one more is "others"
FEW: Final = 50  # users who claim one email; of more, only the first with a customer are searched
ENOUGH: Final = 2 * FEW  # of those who claim one email, so many are read where they suffice for the decision

Claims = MappingOf[str, tuple[ClerkUserId, ...]]


class ClaimReader(Protocol):
    """Reads who else claims the emails of these users; of many, some may do, unless `whole`. Asked only where it matters."""

    def __call__(self, subjects: Sequence[Subject], /, *, whole: bool = False) -> Claims: ...


def claims_of(profiles: Iterable[Profile], store: Store) -> dict[str, tuple[ClerkUserId, ...]]:
    """Which users of this store claim the same email; addresses with one claimant are left out."""
    found: defaultdict[str, set[ClerkUserId]] = defaultdict(set)
    for profile in profiles:
        key = normalise.email_key(profile.email)
        if key is None or not is_wanted(profile, store):
            continue
        spec = spec_of(profile, store)
        if "email" in spec.fields or spec.lookup_email is not None:
            found[key].add(profile.clerk_user_id)
    return {key: tuple(sorted(users)) for key, users in found.items() if len(users) > 1}


def claims_on(
    subjects: Sequence[Subject], /, profiles: ProfileReader, store: Store, *, whole: bool = False
) -> dict[str, tuple[ClerkUserId, ...]]:
    """The same for a few users, asked of the profiles by their addresses.

    Of many who claim one address, the first ENOUGH are asked for: each of thousands would read all the others. All are,
    if the store wants too few of these.
    """
    keys = {k for s in subjects if s.profile and (k := normalise.email_key(s.profile.email))}
    if not keys:
        return {}
    if len(keys) == 1 and not whole:
        some = profiles.sharing_email(keys, enough=ENOUGH)
        found = claims_of(some, store)
        if len(some) < ENOUGH or any(len(users) > FEW for users in found.values()):
            return found
    return claims_of(profiles.sharing_email(keys), store)


@dataclass(slots=True)
class AllClaims:
    """The claims of all rows: a pass of its own, made at the first call, and not where they matter for no user."""

    profiles: ProfileReader
    store: Store
    _found: Claims | None = None

    def __call__(self, _subjects: Sequence[Subject], /, *, whole: bool = True) -> Claims:  # noqa: ARG002  all are read
        if self._found is None:
            self._found = claims_of(self.profiles.sharing_email(None), self.store)
        return self._found


def _claims_that_matter(
    subjects: Sequence[Subject],
    specs: MappingOf[ClerkUserId, Spec],
    current: MappingOf[ClerkUserId, Customer | None],
    read_claims: ClaimReader,
) -> Claims:
    """Who claims the emails that may be written. A customer that has its email keeps it, even if others claim it."""
    asked = [s for s in subjects if s.user in specs and not _keeps_its_email(s, specs[s.user], current.get(s.user))]
    return read_claims(asked) if asked else {}


def _keeps_its_email(subject: Subject, spec: Spec, customer: Customer | None) -> bool:
    mapping = subject.mapping
    if customer is None or (mapping is not None and mapping.intent is not None):  # what was written is not known yet
        return False
    return keeps_its_email(subject.user, mapping, spec, customer)


def rivals_of(
    subjects: Sequence[Subject],
    specs: MappingOf[ClerkUserId, Spec],
    current: MappingOf[ClerkUserId, Customer | None],
    mappings: MappingReader,
    store: Store,
    read_claims: ClaimReader,
) -> dict[ClerkUserId, tuple[Rival, ...]]:
    """Who else claims the email of each user, as far as a hold names them: of many, a few with a customer here, and others.

    To a user with a customer only those with one matter: where some of many claimants were read, and none of them has one,
    all are.
    """
    claims = _claims_that_matter(subjects, specs, current, read_claims)
    asked = {key: claims[key] for key in {_claimed(spec) for spec in specs.values()} if key in claims}
    mapped_of_many = partial(mappings.first_mapped, store.shop, limit=RIVALS_MAX)
    few = sorted({user for claimants in asked.values() if len(claimants) <= FEW for user in claimants})
    known = mappings.first_mapped(store.shop, few, limit=len(few)) if few else frozenset[ClerkUserId]()
    found: dict[str, tuple[Rival, ...]] = {}
    for key, some in asked.items():
        claimants, many = some, len(some) > FEW
        mapped = mapped_of_many(claimants) if many else known.intersection(claimants)
        theirs = [s for s in subjects if _claimed(specs.get(s.user)) == key] if many else []
        if not mapped - {s.user for s in theirs} and any(s.mapping and s.mapping.customer_id for s in theirs):
            claimants = read_claims(theirs, whole=True).get(key, ())
            mapped = mapped_of_many(claimants)
        others = islice((user for user in claimants if user not in mapped), RIVALS_MAX)
        found[key] = tuple(Rival(clerk_user_id=u, mapped=u in mapped) for u in (*sorted(mapped)[:RIVALS_MAX], *others))
    return {
        s.user: tuple(r for r in found.get(_claimed(specs.get(s.user)), ()) if r.clerk_user_id != s.user)
        for s in subjects
    }


def _claimed(spec: Spec | None) -> str:
    """The key of the email that the user claims; empty where there is none."""
    email = spec.value("email") or spec.lookup_email if spec else None
    return normalise.email_key(email) or ""
