"""Marketing consent: what follows from each pair of answers (docs/rules.md, rule 8)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.core.decide.consent import judge, with_times
from reconciler.core.decide.record import observed_row
from reconciler.core.fields.consent import LastConsent, last_consent, said_of, with_former
from reconciler.core.fields.desired import config_digest, spec_of
from reconciler.core.fields.fingerprint import observed_fp
from reconciler.core.model.action import Action, Change
from reconciler.core.model.consent import Consent, ConsentRule, Said
from reconciler.core.model.store import Store
from reconciler.core.model.view import Decision, Subject
from tests.core.people import ADA, NOW, after, customer, decided, gid, held, mapping, profile, same, settled, store

BEFORE, THEN, LATER = (NOW.replace(microsecond=0) - timedelta(days=days) for days in (3, 2, 1))
AHEAD, SOON = NOW + timedelta(hours=1), NOW + timedelta(seconds=50)
PLAIN: dict[str, Any] = {"from": "metadata.news", "at": "metadata.news_at"}
NEVER, YES, NO, WAITS = "NOT_SUBSCRIBED", "SUBSCRIBED", "UNSUBSCRIBED", "PENDING"

CASES: list[tuple[bool | None, datetime | None, str, datetime | None, str]] = [
    # the profile says, at; Shopify shows, at; what follows with `withdraw: true` and a single opt-in
    (None, None, NEVER, None, "nothing"),
    (None, LATER, YES, THEN, "nothing"),
    (True, THEN, NEVER, None, "grant"),
    (True, THEN, "NEVER_SUBSCRIBED", None, "grant"),
    (True, LATER, NEVER, THEN, "grant"),
    (True, THEN, NEVER, THEN, "grant"),
    (True, BEFORE, NEVER, THEN, "grant"),
    (True, None, NEVER, None, "grant"),
    (True, AHEAD, NEVER, None, "unclear"),
    (True, AHEAD, YES, THEN, "nothing"),
    (True, SOON, NEVER, None, "grant"),
    (True, LATER, YES, THEN, "nothing"),
    (True, LATER, NO, THEN, "grant"),
    (True, THEN, NO, THEN, "nothing"),
    (True, BEFORE, NO, THEN, "nothing"),
    (True, LATER, NO, None, "nothing"),
    (True, None, NO, THEN, "nothing"),
    (True, LATER, WAITS, THEN, "nothing"),
    (True, LATER, "REDACTED", None, "nothing"),
    (True, LATER, "INVALID", None, "nothing"),
    (True, LATER, "SNOOZED", None, "nothing"),
    (False, LATER, YES, THEN, "withdraw"),
    (False, LATER, YES, None, "withdraw"),
    (False, THEN, YES, THEN, "nothing"),
    (False, BEFORE, YES, THEN, "nothing"),
    (False, None, YES, THEN, "nothing"),
    (False, None, YES, None, "nothing"),
    (False, AHEAD, YES, THEN, "unclear"),
    (False, LATER, WAITS, THEN, "withdraw"),
    (False, BEFORE, WAITS, THEN, "nothing"),
    (False, LATER, NEVER, None, "nothing"),
    (False, LATER, NO, THEN, "nothing"),
    (False, LATER, "REDACTED", None, "nothing"),
    (False, LATER, "SNOOZED", None, "nothing"),
]


@pytest.mark.parametrize(("granted", "at", "state", "shown_at", "outcome"), CASES)
def test_the_last_answer_counts(
    granted: bool | None, at: datetime | None, state: str, shown_at: datetime | None, outcome: str  # noqa: FBT001  a case
) -> None:  # fmt: skip
    said, shown = Said(granted=granted, at=at), Consent(state=state, at=shown_at)
    found, why, written_at = judge(said, shown, None, rule(withdraw=True), NOW)
    assert (found, bool(why)) == (outcome, True)
    assert written_at == (at if outcome in {"grant", "withdraw"} else None)
    careful = judge(said, shown, None, rule(), NOW)[0]
    assert careful == (outcome if granted else "nothing"), "without `withdraw` a no changes nothing"


WROTE, LEFT = LastConsent(Consent(state=YES, at=THEN), ours=True), Consent(state=NO, at=THEN)


@pytest.mark.parametrize(
    ("granted", "at", "shown", "last", "outcome", "written_at"),
    [
        # what we wrote ourselves, and the profile says no since, with or without a time of its own
        (False, None, Consent(state=YES, at=THEN), WROTE, "withdraw", None),
        (False, THEN, Consent(state=YES, at=THEN), WROTE, "withdraw", None),
        (False, LATER, Consent(state=YES, at=THEN), WROTE, "withdraw", LATER),
        (False, None, Consent(state=YES, at=LATER), WROTE, "nothing", None),  # subscribed in Shopify since
        # a yes is never written twice, whatever time Shopify shows
        (True, THEN, Consent(state=NO, at=BEFORE), WROTE, "nothing", None),
        (True, THEN, Consent(state=NEVER), WROTE, "nothing", None),
        (True, LATER, Consent(state=NEVER), WROTE, "grant", LATER),
        # a withdrawal that is known outlives the customer
        (True, THEN, Consent(state=NEVER), LastConsent(LEFT, ours=False), "nothing", None),
        (True, THEN, Consent(state=NO, at=BEFORE), LastConsent(LEFT, ours=False), "nothing", None),
        (True, LATER, Consent(state=NEVER), LastConsent(LEFT, ours=False), "grant", LATER),
        (True, LATER, Consent(state=NEVER), LastConsent(Consent(state=NO), ours=True), "nothing", None),
        (True, LATER, Consent(state=NO, at=THEN), LastConsent(Consent(state=NO), ours=True), "grant", LATER),
    ],
)
def test_what_was_written_before_counts(
    granted: bool, at: datetime | None, shown: Consent, last: LastConsent, outcome: str, written_at: datetime | None  # noqa: FBT001  a case
) -> None:  # fmt: skip
    found = judge(Said(granted=granted, at=at), shown, last, rule(withdraw=True), NOW)
    assert (found[0], found[2]) == (outcome, written_at)


@pytest.mark.parametrize(
    ("source", "at", "outcome"),
    [
        ("metadata.news", None, "withdraw"),
        ("metadata.old", None, "nothing"),
        ("metadata.old", BEFORE, "nothing"),
        ("metadata.old", LATER, "withdraw"),
    ],
)
def test_a_no_of_another_path_than_the_yes_that_we_wrote_needs_a_later_time(
    source: str, at: datetime | None, outcome: str
) -> None:
    wrote = LastConsent(Consent(state=YES, at=THEN, source=source), ours=True)
    found, why, _ = judge(Said(granted=False, at=at), Consent(state=YES, at=THEN), wrote, rule(withdraw=True), NOW)
    assert (found, "metadata.old" in why) == (outcome, outcome == "nothing")


def test_without_a_time_only_the_first_yes_is_written() -> None:
    undated = ConsentRule.model_validate({"from": "metadata.news", "withdraw": True})
    for shown, last, outcome in [
        (Consent(state=NEVER), None, "grant"),
        (Consent(state=NEVER, at=THEN), None, "grant"),
        (Consent(state=NEVER), WROTE, "nothing"),
        (Consent(state=NO), None, "nothing"),
        (Consent(state=NO, at=BEFORE), None, "nothing"),
        (Consent(state=WAITS, at=BEFORE), None, "nothing"),
    ]:
        found = judge(Said(granted=True), shown, last, undated, NOW)
        assert (found[0], found[2]) == (outcome, None)
    who = profile(ADA, metadata={"news": True, "news_at": "not read"})
    text = after(decided(who, None, store(consent={"email": {"from": "metadata.news"}})))["consent.email"]
    assert text == "SUBSCRIBED, SINGLE_OPT_IN, from metadata.news"
    assert judge(Said(granted=False), Consent(state=YES, at=THEN), None, undated, NOW)[0] == "nothing"


@pytest.mark.parametrize(
    ("shown", "written_at"),
    [
        ({}, NOW - timedelta(seconds=60)),
        ({"email": Consent(state=NEVER)}, NOW - timedelta(seconds=60)),
        ({"email": Consent(state=YES, at=THEN)}, NOW - timedelta(seconds=60)),
        ({"email": Consent(state=YES, at=NOW - timedelta(seconds=5))}, NOW - timedelta(seconds=4)),
        ({"sms": Consent(state=YES, at=NOW)}, NOW - timedelta(seconds=60)),
    ],
)
def test_an_answer_without_a_time_is_dated_before_the_reading_and_after_what_it_replaces(
    shown: dict[Any, Consent], written_at: datetime
) -> None:
    seen = customer(id=gid(7), consents=shown)
    undated = [Change(field="consent.email", before=None, after="SUBSCRIBED, SINGLE_OPT_IN", why="profile changed")]
    dated = Change(
        field="consent.sms", before=None, after=f"SUBSCRIBED, at {THEN:%Y-%m-%dT%H:%M:%SZ}", why="profile changed"
    )
    action = Action(kind="update", clerk_user_id=ADA, customer_id=gid(7), changes=(*undated, dated), cost_points=22)
    found = with_times(action, Decision(clerk_user_id=ADA, customer=seen), NOW.replace(microsecond=999))
    assert [Consent.parse(str(change.after)).at for change in found.changes] == [written_at, THEN]


def test_a_time_of_any_year_is_kept_as_text() -> None:
    early = Consent(state=NO, at=datetime(1, 1, 1, tzinfo=UTC))
    assert Consent.parse(str(early)) == early


def test_only_a_confirmed_yes_ends_a_wait_for_confirmation() -> None:
    said, shown = Said(granted=True, at=LATER), Consent(state=WAITS, at=THEN)
    assert judge(said, shown, None, rule(), NOW)[0] == "nothing"
    assert judge(said, shown, None, rule(level="CONFIRMED_OPT_IN"), NOW)[0] == "grant"
    assert judge(Said(granted=True, at=BEFORE), shown, None, rule(level="confirmed_opt_in"), NOW)[0] == "nothing"


@pytest.mark.parametrize(
    ("value", "at", "said"),
    [
        (True, "2026-03-01T10:00:00.75+02:00", (True, "2026-03-01T08:00:00+00:00")),
        ("yes", "2026-03-01", (True, "2026-03-01T00:00:00+00:00")),
        (1, 1_772_355_600, (True, "2026-03-01T09:00:00+00:00")),
        ("2026-03-01T10:00:00Z", "2026-03-02T10:00:00Z", (True, "2026-03-02T10:00:00+00:00")),
        # a time as the answer is a yes at that time
        ("2026-03-01T10:00:00+02:00", None, (True, "2026-03-01T08:00:00+00:00")),
        ("1772355600", "", (True, "2026-03-01T09:00:00+00:00")),
        (1_772_355_600_000, None, (True, "2026-03-01T09:00:00+00:00")),
        ("0", None, (False, None)),
        ("", "2026-03-01", (None, None)),
        (None, "never", (None, None)),
    ],
)
def test_usual_spellings_are_read(value: object, at: object, said: tuple[bool | None, str | None]) -> None:
    found, doubt = said_of(profile(ADA, metadata={"news": value, "news_at": at}), rule(), "email")
    assert (found.granted, found.at.isoformat() if found.at else None) == said
    assert doubt is None


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("perhaps", "2026-03-01"),
        (2, "2026-03-01"),
        (True, "yesterday"),
        ({}, None),
        (True, []),
        # values in place of no time, as the time and as the answer
        (True, 0),
        (True, "0001-01-01T00:00:00Z"),
        (True, "1969-12-31T23:59:59Z"),
        ("0001-01-01T00:00:00Z", None),
        ("1970-01-01", "2026-03-01"),
        (20_260_301, "2026-03-01"),
        ("2999-12-31", None),
    ],
)
def test_what_cannot_be_read_is_said_and_not_written(value: object, at: object) -> None:
    policy = news()
    who = profile(ADA, metadata={"news": value, "news_at": at})
    found = decided(who, settled(who, there(who, NEVER), policy), policy, mapped=there(who, NEVER))
    assert found.action is None
    assert held(found) == {("ProfileInvalid", "consent.email")}


def test_an_unknown_level_is_kept_as_text() -> None:
    shown = Consent(state="SNOOZED_2", at=THEN, level="OPT_IN_2", source="metadata.news")
    assert Consent.parse(str(shown)) == shown
    odd = ConsentRule.model_validate({"from": "metadata.a key, from a\nform"}).source
    assert Consent.parse(str(replace(shown, source=odd))).source == odd


def test_a_user_who_is_released_without_a_customer_keeps_the_last_consent() -> None:
    row = mapping(ADA, 7, applied={"first_name": {"value": "Ada"}, **given(str(LEFT))})
    lost = Decision(clerk_user_id=ADA, status="released", lost=True)
    found = observed_row(Subject(user=ADA, profile=None, mapping=row), lost, news(), now=NOW)
    assert found is not None
    assert (found.customer_id, [*found.applied]) == (None, ["consent.email"])


@pytest.mark.parametrize(
    ("at", "shown_at", "known"),
    [(THEN, BEFORE, THEN), (THEN, LATER, LATER), (AHEAD, BEFORE, BEFORE), (THEN, None, THEN), (AHEAD, None, None)],
)
def test_a_yes_that_finds_the_customer_subscribed_is_remembered_as_used(
    at: datetime, shown_at: datetime | None, known: datetime | None
) -> None:
    policy, who = news(), agreed(at=at)
    row, seen = settled(who, there(who, YES, shown_at), policy), there(who, YES, shown_at)
    found = decided(who, row, policy, mapped=seen, by_backlink=seen)
    after_it = observed_row(Subject(user=ADA, profile=who, mapping=row), found, policy, now=NOW)
    assert after_it is not None
    applied = after_it.applied["consent.email"]
    assert (Consent.parse(applied.text or ""), applied.ours) == (Consent(state=YES, at=known), False)


@pytest.mark.parametrize(("shown_at", "ours"), [(THEN, True), (BEFORE, True), (LATER, False)])
def test_a_yes_that_the_customer_gave_again_in_shopify_is_not_ours(shown_at: datetime, ours: bool) -> None:  # noqa: FBT001
    policy, who, seen = news(), agreed(), there(agreed(), YES, shown_at)
    wrote = given(str(Consent(state=YES, at=THEN)))
    row = mapping(ADA, 7, applied={**settled(who, seen, policy).applied, **wrote})
    found = decided(who, row, policy, mapped=seen, by_backlink=seen)
    after_it = observed_row(Subject(user=ADA, profile=who, mapping=row), found, policy, now=NOW)
    assert after_it is not None
    known = last_consent(after_it.applied, "email")
    assert known is not None
    assert known.ours is ours
    outcome = judge(Said(granted=False), Consent(state=YES, at=shown_at), known, rule(withdraw=True), NOW)[0]
    assert outcome == ("withdraw" if ours else "nothing")


@pytest.mark.parametrize(
    ("own", "former", "known"),
    [
        (None, Consent(state=YES, at=THEN), (YES, THEN, False)),
        (None, Consent(state=NO), (NO, None, False)),
        (Consent(state=YES, at=THEN), None, (YES, THEN, True)),
        (Consent(state=YES, at=THEN), Consent(state=NO, at=BEFORE), (YES, THEN, True)),
        (Consent(state=YES, at=THEN), Consent(state=NO, at=LATER), (NO, LATER, False)),
        (Consent(state=YES, at=THEN), Consent(state=NO), (NO, None, False)),
        (Consent(state=YES, at=THEN), Consent(state=YES), (YES, THEN, True)),
    ],
)
def test_of_two_users_of_a_customer_the_answer_that_asks_for_the_later_yes_is_kept(
    own: Consent | None, former: Consent | None, known: tuple[str, datetime | None, bool]
) -> None:
    mine, theirs = (mapping(ADA, 7, applied=given(str(each)) if each else {}).applied for each in (own, former))
    found = last_consent(with_former(mine, theirs), "email")
    assert found is not None
    assert (found.consent.state, found.consent.at, found.ours) == known


def test_a_time_to_come_is_held() -> None:
    policy, who = news(), agreed(at=AHEAD)
    found = decided(who, settled(who, there(who, NEVER), policy), policy, mapped=there(who, NEVER))
    assert (found.action, held(found)) == (None, {("ProfileInvalid", "consent.email")})
    assert "in the future" in found.holds[0].message


def test_a_new_customer_is_subscribed_once() -> None:
    policy, who = news(), agreed()
    found = decided(who, None, policy)
    text = f"SUBSCRIBED, at {THEN:%Y-%m-%dT%H:%M:%SZ}, SINGLE_OPT_IN, from metadata.news"
    assert after(found)["consent.email"] == text
    assert found.action is not None
    assert found.action.cost_points == 21
    gone = mapping(ADA, 7, applied={**settled(who, there(who, NEVER), policy).applied, **given(text)})
    again = decided(who, gone, policy)
    assert again.action is not None
    assert again.action.kind == "create"
    assert "consent.email" not in after(again), "the customer was deleted since"


@pytest.mark.parametrize(
    ("values", "policy"),
    [
        ({"email_verified": False}, {}),
        ({"email": "else@x.example.com"}, {"fields": {"email": "create_only"}}),
        ({"email": "else@x.example.com"}, {"heal_drift": "hold"}),
    ],
)
def test_no_user_is_subscribed_at_an_address_that_is_not_theirs(values: dict[str, Any], policy: dict[str, Any]) -> None:
    who = agreed()
    at, row = there(who, NEVER), settled(who, there(who, NEVER), news())
    assert "consent.email" in after(decided(who, row, news(), mapped=at))
    found = decided(agreed(**values), row, news(**policy), mapped=at) if "heal_drift" not in policy else None
    if found is None:  # edited in Shopify, and the edit stays
        moved = at.model_copy(update={"email": values["email"]})
        found = decided(who, row, news(**policy), mapped=moved)
    assert "consent.email" not in (after(found) if found.action else {})


def test_a_change_of_the_customer_in_shopify_is_no_drift() -> None:
    policy, who = news(), agreed()
    wrote = f"SUBSCRIBED, at {THEN:%Y-%m-%dT%H:%M:%SZ}, SINGLE_OPT_IN, from metadata.news"
    row = settled(who, there(who, YES, THEN), policy)
    row = mapping(ADA, 7, applied={**row.applied, **given(wrote)}, email=row.email)
    left = decided(who, row, policy, mapped=there(who, NO, LATER), by_backlink=there(who, NO, LATER))
    assert (left.action, left.holds, left.status) == (None, (), "in_sync")
    assert "newer" in left.consents[0].why


def test_both_consents_are_decided_apart() -> None:
    policy = news(sms=PLAIN, country="GB")
    who = agreed(phone="+442079460958")
    at = there(who, NO, LATER, policy).model_copy(update={"phone": "+442079460958"})
    at = at.model_copy(update={"consents": {**at.consents, "sms": Consent(state=NEVER)}})
    assert set(after(decided(who, settled(who, at, policy), policy, mapped=at))) == {"consent.sms"}


def test_a_store_without_consent_is_as_it_was() -> None:
    plain = store()
    assert config_digest(plain) == config_digest(store(guards={"consent": {"max": 1}}))
    assert config_digest(plain) == "414f9c388f334db1"
    assert config_digest(plain) != config_digest(news())
    assert spec_of(agreed(), plain).consents == {}
    assert observed_fp(customer(email="a@x.example.com")) != observed_fp(
        customer(email="a@x.example.com", consents={"email": Consent(state=NEVER)})
    )


# --- parts ---------------------------------------------------------------------------------------------------------


def rule(**more: Any) -> ConsentRule:
    return ConsentRule.model_validate({**PLAIN, **more})


def news(*, sms: Any = None, **policy: Any) -> Store:
    return store(consent={"email": PLAIN, **({"sms": sms} if sms else {})}, **policy)


def agreed(at: datetime = THEN, **values: Any) -> Any:
    return profile(ADA, **{"metadata": {"news": True, "news_at": at.isoformat()}, **values})


def there(who: Any, state: str, at: datetime | None = None, policy: Store | None = None) -> Any:
    return same(who, 7, policy or news(), consents={"email": Consent(state=state, at=at)}, id=gid(7))


def given(text: str) -> dict[str, Any]:
    return {"consent.email": {"value": text, "ours": True}}
