"""The page of `reconciler demo --serve`: five forms that change the app or a simulated shop, as people would."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from uuid import uuid4

from jinja2 import Environment, PackageLoader, StrictUndefined

from reconciler.cli.commands.demo.people import DemoUser, UsersTable
from reconciler.simulator.control import all_customers
from reconciler.simulator.world import SimShop

LOOPBACK: Final = "127.0.0.1"
BODY_MAX: Final = 10_000
CHOICES: Final = 40  # users in a choice, the last changed first
NUDGE_S: Final = 5.0
FROZEN: Final = 402  # Shopify's answer for a frozen shop
Form = Mapping[str, str]


class Playground:
    """The app, the shops and the controller, as the forms change them."""

    def __init__(self, table: UsersTable, us: SimShop, eu: SimShop, *, controller: str, token: str) -> None:
        self._table, self._us, self._eu = table, us, eu
        self._controller, self._token = controller, token
        self._lock = threading.Lock()

    @property
    def console(self) -> str:
        return f"{self._controller}/?{urlencode({'token': self._token})}"

    def person(self, user: str) -> str:
        """The console's page of a user."""
        return f"{self._controller}/people/{quote(user, safe='')}?{urlencode({'token': self._token})}"

    @property
    def users(self) -> list[DemoUser]:
        return self._table.rows()

    @property
    def is_suspended(self) -> bool:
        return self._eu.status is not None

    def act(self, name: str, form: Form) -> tuple[str, str]:
        """Perform the action of a form; return what happened, and to which user (empty: to none).

        KeyError or StopIteration for an unknown action, field or user; ValueError for a bad value.
        """
        actions: dict[str, Callable[[Form], tuple[str, str]]] = {
            "sign-up": self._sign_up,
            "rename": self._rename,
            "edit": self._edit,
            "delete": self._delete,
            "suspend": self._suspend,
        }
        with self._lock:
            return actions[name](form)

    def _sign_up(self, form: Form) -> tuple[str, str]:
        user = f"user_2{uuid4().hex[:26]}"
        row = DemoUser(user, form["email"], True, form["first_name"], form["last_name"], None, "", "en-US")  # noqa: FBT003  a column
        row.avatar_url = f"https://img.example.com/{user}.png"
        self._table.add(row)
        return f"{row.first_name} {row.last_name} signed up. {self._nudge(user)}", user

    def _rename(self, form: Form) -> tuple[str, str]:
        user = self._known(form)
        self._table.change(user.clerk_user_id, first_name=form["first_name"])
        return (
            f"{user.first_name} is {form['first_name']} in the app now. {self._nudge(user.clerk_user_id)}",
            user.clerk_user_id,
        )

    def _edit(self, form: Form) -> tuple[str, str]:
        user = self._known(form)
        for shop in (self._us, self._eu):
            for customer in all_customers(shop):
                if customer["email"] == user.email:
                    shop.staff("edit", id=customer["id"], first_name=form["first_name"])
                    if form.get("tag"):
                        shop.staff("tag", id=customer["id"], tags=[form["tag"]])
                    said = f"Staff renamed the customer of {user.first_name} to {form['first_name']}."
                    return f"{said} {self._nudge(user.clerk_user_id)}", user.clerk_user_id
        raise ValueError(f"{user.email} has no customer in Shopify yet")

    def _delete(self, form: Form) -> tuple[str, str]:
        user = self._known(form)
        self._table.remove(user.clerk_user_id)
        return (
            f"{user.first_name} {user.last_name} closed the account. {self._nudge(user.clerk_user_id)}",
            user.clerk_user_id,
        )

    def _suspend(self, _form: Form) -> tuple[str, str]:
        self._eu.status = None if self._eu.status is not None else FROZEN
        return ("Shopify froze acme-eu." if self.is_suspended else "acme-eu answers again."), ""

    def _known(self, form: Form) -> DemoUser:
        return next(row for row in self.users if row.clerk_user_id == form["user"])

    def _nudge(self, user: str) -> str:
        """Tell the controller, as a database webhook would."""
        request = urllib.request.Request(  # noqa: S310  loopback
            f"{self._controller}/nudge",
            json.dumps({"user": user}).encode(),
            {"content-type": "application/json", "authorization": f"Bearer {self._token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=NUDGE_S):  # noqa: S310  loopback
                return "The controller has queued the user."
        except (urllib.error.URLError, TimeoutError):
            return "The controller does not answer; its next resync finds the change."


@contextmanager
def serve_playground(playground: Playground) -> Iterator[str]:
    """Serve the page on loopback while the block runs, and yield its address."""
    page = Environment(loader=PackageLoader("reconciler.cli"), autoescape=True, undefined=StrictUndefined).get_template(
        "play.html"
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            if asked.path != "/":
                self.send_error(404)
                return
            query = {name: values[0] for name, values in parse_qs(asked.query).items()}
            who = query.get("who", "")
            html = page.render(
                users=playground.users[:CHOICES],
                console=playground.console,
                console_person=playground.person(who),
                suspended=playground.is_suspended,
                done=query.get("done", ""),
                who=who,
            )
            body = html.encode()
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            length = min(int(self.headers.get("content-length", 0)), BODY_MAX)
            sent = parse_qs(self.rfile.read(length).decode("utf-8", "replace"))
            form = {name: values[0].strip() for name, values in sent.items()}
            try:
                done, who = playground.act(self.path.strip("/"), form)
            except (KeyError, StopIteration):
                done, who = "Nothing was done: the form is not complete, or that user is gone.", ""
            except ValueError as error:
                done, who = f"Nothing was done: {error}.", ""
            self.send_response(303)
            self.send_header("location", f"/?{urlencode({'done': done, 'who': who})}")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's
            """Log nothing: the controller's log is on the same terminal."""

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="playground", daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
