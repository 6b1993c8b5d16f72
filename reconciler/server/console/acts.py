"""What operators do at the console: a page asks, its form acts, and the next page says what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final
from urllib.parse import parse_qs, quote, urlencode

from fastapi import Body, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from reconciler.core.model.act import Actor
from reconciler.errors import PermanentError, PlanRefused, ReconcilerError, UsageError
from reconciler.ports import Clock
from reconciler.server.access import Caller, Verdict
from reconciler.server.acting import Kind, Performed, Wish, is_foreign, perform
from reconciler.server.console.rendering import Renderer
from reconciler.server.console.sign_in import FORM
from reconciler.server.console.words import field_name
from reconciler.server.service import Service

QUESTIONS: Final[dict[Kind, tuple[str, str]]] = {
    "pause": (
        "Pause {store}?",
        "The controller observes and decides as before, and writes nothing to this shop until you resume it.",
    ),
    "resume": ("Resume {store}?", "The controller writes again what is pending for this shop."),
    "probe": (
        "Probe {store} now?",
        "The controller calls the shop and shows what it answers. A suspended store is resumed if the shop grants access.",
    ),
    "nudge": (
        "Reconcile all of {store}?",
        "A full resync starts soon: it reads all profiles and customers, and queues what differs.",
    ),
    "reconcile": ("Reconcile {user}?", "The user is read again in all stores, and what differs is written."),
    "accept": (
        "Accept this drift of {user} in {store}?",
        "What was edited in Shopify stays until the day is over (UTC): {fields}. Afterwards it is drift, and healed.",
    ),
    "heal": (
        "Heal the drift of {user} in {store} now?",
        "The drift is no longer accepted: the user is reconciled, and the profile's values are written again.",
    ),
    "forget": (
        "Forget {user}?",
        "The mappings of this user are deleted from the state. Customers in Shopify stay as they are.",
    ),
    "undo": (
        "Undo run {run}?",
        (
            "The revert is planned again. If the digest is still {digest}, its actions are applied, with those that guards "
            "withhold. What was reverted is not written again until the profile or the config changes."
        ),
    ),
    "continue": (
        "Continue the rollout?",
        (
            "The stores of the next wave get the policy of stores.yaml, also if a limit was exceeded or a store is waited "
            "for. Without a next wave, the rollout ends."
        ),
    ),
    "abort": (
        "Abort the rollout?",
        "Later waves keep the policy that they had until stores.yaml changes. Waves that were reached keep the new one.",
    ),
    "approve": (
        "Approve exactly this plan of {store}?",
        (
            "The store is planned again. If the digest is still {digest}, its actions are applied, with those that guards "
            "withhold."
        ),
    ),
}
QUESTION_OF_PLANS: Final = (
    "Approve exactly these plans of {count} stores?",
    (
        "Each store is planned again. Of those that still have the digest below, the actions are applied as one run, with "
        "those that guards withhold. Nothing is applied to the others."
    ),
)
FORM_MAX: Final = 32_768  # bytes: an approval of a hundred stores
FIELDS: Final = ("kind", "store", "user", "fields", "until", "run", "digest", "step")
ACCEPTED_DAYS: Final = 30  # the suggestion


class ActPages:
    """The page that asks, and the form's target. `stores` is read at each request; `caller`: who sends a request."""

    def __init__(
        self,
        service: Service,
        clock: Clock,
        renderer: Renderer,
        stores: Collection[str],
        caller: Callable[[Request], Caller | None],
    ) -> None:
        self._service, self._clock, self._renderer, self._stores = service, clock, renderer, stores
        self._caller = caller

    def ask(self, request: Request, verdict: Verdict) -> Response:
        if verdict != "operator":
            return self._renderer.denied(request, verdict)
        given = {name: request.query_params.get(name, "") for name in FIELDS}
        plans = request.query_params.getlist("plan")
        if given["kind"] == "accept" and not given["until"]:
            given["until"] = (self._clock.now() + timedelta(days=ACCEPTED_DAYS)).date().isoformat()
        wish = self._wish(given, plans)
        if wish is None:
            return RedirectResponse("/", 303)
        return self._page(request, wish)

    def act(
        self, request: Request, form: Annotated[bytes, Body(media_type=FORM, max_length=FORM_MAX)] = b""
    ) -> Response:
        """Perform what the form of our own page says. Only operators."""
        try:
            caller = self._caller(request)
        except ReconcilerError as error:
            return self._renderer.page("failed.html", request, status=503, error=error)
        if caller is None or caller.role != "operator" or is_foreign(request):
            return self._renderer.denied(request, "needs token" if caller is None else "viewer")
        sent = parse_qs(form.decode(errors="replace"))
        wish = self._wish({name: values[0] for name, values in sent.items()}, sent.get("plan", ()))
        if wish is None:
            return RedirectResponse("/", 303)
        try:
            done = perform(self._service, wish, Actor(caller.name, "console"))
        except PlanRefused as error:
            return self._page(request, wish, problem=error, status=409)
        except UsageError as error:
            return self._page(request, wish, problem=error, status=422)
        except PermanentError as error:
            return self._page(request, wish, problem=error, status=404)
        except ReconcilerError as error:
            return self._page(request, wish, problem=error, status=503)
        if done.status in {"pending", "unknown"} or done.found is not None or done.refused:
            return self._page(request, wish, done=done)
        return RedirectResponse(_next(wish, done), 303)

    def _wish(self, given: dict[str, str], plans: Sequence[str]) -> Wish | None:
        """The wish in these values; None if they make none, or name an unknown store. `plans`: each a store and a digest."""
        try:
            said: dict[str, Any] = {name: given[name] for name in FIELDS if given.get(name)}
            if "fields" in said:
                said["fields"] = said["fields"].split(",")
            if plans:
                said["plans"] = dict(plan.partition(" ")[::2] for plan in plans)
            wish = Wish.model_validate(said)
        except ValidationError:
            return None
        return wish if all(store in self._stores for store in wish.stores) else None

    def _page(
        self,
        request: Request,
        wish: Wish,
        *,
        problem: ReconcilerError | None = None,
        done: Performed | None = None,
        status: int = 200,
    ) -> Response:
        values = {name: _text(value) for name, value in wish.model_dump(exclude={"plans"}).items() if value is not None}
        shown = {**values, "fields": " and ".join(field_name(name) for name in wish.fields or ())}
        asked = QUESTIONS[wish.kind] if wish.plans is None else QUESTION_OF_PLANS
        question, meaning = (words.format(**shown, count=len(wish.stores)) for words in asked)
        return self._renderer.page(
            "act.html",
            request,
            status=status,
            verdict="operator",
            question=question,
            meaning=meaning,
            until=values.pop("until", None),
            values=values,
            plans=wish.plans or {},
            back=_back(wish),
            problem=problem,
            done=done,
        )


def _text(value: Any) -> str:
    """A value as the form sends it."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _back(wish: Wish) -> str:
    if wish.run is not None:
        return f"/runs/{wish.run}/undo"
    if wish.plans is not None:
        return f"/plans?{urlencode([('store', store) for store in wish.plans])}"
    if wish.kind in {"continue", "abort"}:
        return "/rollout"
    if wish.user is not None:
        return f"/people/{quote(wish.user, safe='')}"
    store = f"/stores/{quote(wish.store or '', safe='')}"
    return f"{store}/plan" if wish.kind == "approve" else store


def _next(wish: Wish, done: Performed) -> str:
    return f"/runs/{done.run.id}" if done.run is not None else f"{_back(wish)}?done={wish.kind}"
