"""A plan with something of everything, as it might come out of two stores."""

from datetime import UTC, datetime

from reconciler.core.model.action import Action, Change, Hold, WhoActs, Why
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.values import Value
from reconciler.core.plan.guard import guard_hold
from reconciler.core.plan.plan import Forecast, Plan, StorePlan, build_plan, summary_of

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LINK = "backlink"


def change(field: str, before: Value, after: Value, why: Why = "profile changed") -> Change:
    return Change(field=field, before=before, after=after, why=why)


def create(user: str, email: str, first: str, last: str) -> Action:
    changes = (
        change("email", None, email),
        change("first_name", None, first),
        change("last_name", None, last),
        change("metafields.clerk.avatar_url", None, f"https://img.example.com/{user}.png"),
        change("tags", [], ["app-user"]),
        change(LINK, None, user),
    )
    return Action(kind="create", clerk_user_id=ClerkUserId(user), customer_id=None, changes=changes, cost_points=20)


def update(user: str, customer: int, *changes: Change) -> Action:
    return Action(
        kind="update",
        clerk_user_id=ClerkUserId(user),
        customer_id=CustomerId(f"gid://shopify/Customer/{customer}"),
        changes=changes,
        cost_points=10,
        email=f"customer-{customer}@example.com",
        name="Ada Byron",
    )


def hold(user: str, reason: str, message: str, who: WhoActs = "operator", customer: str | None = None) -> Hold:
    return Hold(
        clerk_user_id=ClerkUserId(user),
        customer_id=CustomerId(customer) if customer else None,
        reason=reason,
        message=message,
        who_acts=who,
    )


def store_plan(name: str, actions: tuple[Action, ...], holds: tuple[Hold, ...], in_sync: int = 0) -> StorePlan:
    points = sum(a.cost_points for a in actions)
    return StorePlan(
        store=StoreName(name),
        shop=ShopDomain(f"{name}.myshopify.com"),
        summary=summary_of(actions, holds, in_sync),
        actions=actions,
        holds=holds,
        forecast=Forecast(points=points, seconds=points / 100),
    )


def example() -> Plan:
    actions = (
        create("user_2Nq8Vb1RkYxW3cTfZs5LhJ0aMdE", "ada@example.com", "Ada", "Lovelace"),
        create("user_2Nq8Vb1RkYxW3cTfZs5LhJ0aMdF", "grace@example.com", "Grace", "Hopper"),
        Action(
            kind="adopt",
            clerk_user_id=ClerkUserId("user_3"),
            customer_id=CustomerId("gid://shopify/Customer/7"),
            changes=(change("first_name", None, "Edsger"), change("tags", ["vip"], ["app-user", "vip"])),
            cost_points=30,
            email="edsger@example.com",
        ),
        update(
            "user_4",
            8,
            change("first_name", "Ada", "Adah"),
            change("phone", "+16134505293", None),
            change("last_name", "Staff Edit", "Byron", "drift"),
            change("tags", ["app-user", "old-tag"], ["app-user", "new-tag"], "config changed"),
        ),
        Action(
            kind="release",
            clerk_user_id=ClerkUserId("user_9"),
            customer_id=CustomerId("gid://shopify/Customer/9"),
            changes=(),
            cost_points=0,
            how="keep",
        ),
    )
    holds: tuple[Hold, ...] = (
        hold("user_5", "EmailTaken", "the email is also claimed by user_6"),
        hold("user_6", "EmailTaken", "the email is also claimed by user_5"),
        hold(
            "user_7",
            "EmailUnverified",
            "the profile's email is not verified, so it is neither written nor used",
            "profile",
        ),
        hold(
            "user_8",
            "EmailUnverified",
            "the profile's email is not verified, so it is neither written nor used",
            "profile",
        ),
    )
    withheld = (update(f"user_{n}", n, change("tags", [], ["club"], "config changed")) for n in (10, 11, 12))
    holds += tuple(guard_hold(action, "3 update actions are above the ceiling of 2") for action in withheld)
    broken = StorePlan(
        store=StoreName("acme-fr"),
        shop=ShopDomain("acme-fr.myshopify.com"),
        error="StoreSuspended: acme-fr.myshopify.com refuses the token",
        error_hint="install the app again, or set its token",
    )
    return build_plan(
        [store_plan("acme-us", actions, holds, 195), store_plan("acme-eu", (), (), 88), broken], created_at=AT
    )


def one_screen() -> Plan:
    """One store, one action of the common kinds and one hold: short enough for the first page of the documentation."""
    actions = (
        create("user_20Ve6OYGM2HfRYcwC5zU", "ada@example.com", "Ada", "Lovelace"),
        Action(
            kind="adopt",
            clerk_user_id=ClerkUserId("user_2ZYTGd45dOUHLIUkUBkY"),
            customer_id=CustomerId("gid://shopify/Customer/7005"),
            changes=(change("first_name", None, "Kari"), change("tags", ["vip"], ["app-user", "vip"])),
            cost_points=30,
            email="kari@example.com",
        ),
        update(
            "user_2bu8a5HWvAaEe7rAI50l",
            7008,
            change("first_name", "Ada", "Adah"),
            change("last_name", "Staff Edit", "Byron", "drift"),
        ),
    )
    message = "the profile's email is not verified, so it is neither written nor used"
    holds = (hold("user_21SdsqR2tRMo4mNlnF9U", "EmailUnverified", message, "profile"),)
    return build_plan([store_plan("acme-us", actions, holds, 195)], created_at=AT)


def of_two_new_users() -> Plan:
    """The first plan of the tutorial: two users are created, one is held."""
    users = (
        ("user_2xAda", ("email", "ada@example.com"), ("first_name", "Ada"), ("last_name", "Lovelace")),
        ("user_2xGrace", ("email", "grace@example.com"), ("first_name", "Grace"), ("last_name", "Hopper"),
         ("phone", "+16134505293")),
    )  # fmt: skip
    actions = tuple(
        Action(
            kind="create",
            clerk_user_id=ClerkUserId(user),
            customer_id=None,
            changes=(*(change(field, None, value) for field, value in fields), change("tags", [], ["app-user"])),
            cost_points=10,
        )
        for user, *fields in users
    )
    message = "the profile's email is not verified, so it is neither written nor used"
    holds = (hold("user_2xEdsger", "EmailUnverified", message, "profile"),)
    return build_plan([store_plan("acme-us", actions, holds)], created_at=AT)
