"""Postgres, PgBouncer and the replicas of `run`: started, killed, frozen, cut off, and started again.

Everything is on loopback, in one temporary folder, and ended by the process that started it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests import servers
from tests.chaos.people import SHOPS
from tests.chaos.policy import stores_text
from tests.chaos.shops import ServedShops, domain
from tests.clerk import sender
from tests.clock import WallClock
from tests.manager.processes import Cable

ROOT = Path(__file__).parents[2]
TERM_S = 120.0
START_S = 300.0
LAST_WORDS = 4000
REFUSED = (
    "stores.yaml:2: not valid YAML",
    "stores.yaml:1: stores: it must be set",
    "lacks a column that is mapped",
    "has no column",
    "there is no table",
    "is not what it was",  # the column went while the start read the table
)
"""Why a start may be refused here: while stores.yaml is broken, or a column or the table is away."""
COLUMNS = ("clerk_user_id", "email", "email_verified", "first_name", "last_name", "phone", "metadata", "updated_at",
           "deleted_at")  # fmt: skip


@dataclass(slots=True)
class Postgres:
    """A Postgres that can crash and come back, and the PgBouncer before it."""

    server: servers.Server
    database: str
    process: subprocess.Popen[bytes]
    pooler_port: int = 0
    pooler: subprocess.Popen[bytes] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, user: str, *, port: int | None = None) -> str:
        return self.server.url(self.database, user=user, port=port)

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=30, application_name="soak")

    def crash(self) -> None:
        """An immediate shutdown: no checkpoint, every connection cut. Everything that was committed is recovered."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(servers.STOP_S)

    def start(self) -> None:
        folder = self.server.folder
        command = self.process.args
        assert isinstance(command, list)
        self.process = self.server.account.start([str(part) for part in command], folder / "postgres.log")
        end = time.monotonic() + servers.START_S
        while time.monotonic() < end:
            with suppress(psycopg.OperationalError):
                self.connect().close()
                return
            time.sleep(0.05)
        raise AssertionError("Postgres did not come back:\n" + (folder / "postgres.log").read_text()[-2000:])

    def cut(self) -> int:
        """End every connection of the product's at the server."""
        query = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename IN ('reconciler', 'reader')"
        )
        with self.connect() as connection:
            found = connection.execute(query).fetchone()
        return int(found[0]) if found else 0

    def scalar(self, query: str) -> Any:
        with self.connect() as connection:
            found = connection.execute(query.encode()).fetchone()
        return found[0] if found else None

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query.encode()).fetchall()

    def stop_pooler(self) -> None:
        assert self.pooler is not None
        self.pooler.kill()
        self.pooler.wait(servers.STOP_S)

    def start_pooler(self) -> None:
        program = servers.pgbouncer_program()
        if program is None:
            servers.absent("PgBouncer", "pgbouncer")
        folder = self.server.folder
        (folder / "pgbouncer.pid").unlink(missing_ok=True)
        self.pooler = self.server.account.start([str(program), str(folder / "pgbouncer.ini")], folder / "pgbouncer.out")


@contextmanager
def open_postgres() -> Iterator[Postgres]:
    """A new server with a database for state and profiles, and roles for the product's two halves and for the app.

    Commits wait for the log: what was confirmed must survive a crash. (No machine crashes here, so no fsync.)
    """
    with ExitStack() as stack:
        server = stack.enter_context(servers.postgres())
        database = server.create(name="chaos")
        with server.connect() as connection:
            for role in ("reconciler", "reader", "owner"):
                connection.execute(f"CREATE ROLE {role} LOGIN".encode())
            connection.execute(b"ALTER DATABASE chaos SET synchronous_commit = on")
            connection.execute(b"GRANT CREATE ON DATABASE chaos TO reconciler, owner")
        with server.connect(database) as connection:
            connection.execute(b"GRANT CREATE, USAGE ON SCHEMA public TO owner")
            connection.execute(b"GRANT USAGE ON SCHEMA public TO reader")
        postgres = Postgres(server, database, server.process)

        def end() -> None:
            if postgres.process.poll() is None:
                postgres.process.send_signal(signal.SIGINT)
                postgres.process.wait(servers.STOP_S)
            if postgres.pooler is not None and postgres.pooler.poll() is None:
                postgres.stop_pooler()

        stack.callback(end)
        with servers.pgbouncer(server) as port:  # its first start writes its settings; from here on it is ours
            postgres.pooler_port = port
        postgres.start_pooler()
        yield postgres


@dataclass(slots=True)
class Replica:
    """One replica. What it logs goes to a file; `wanted` says whether it should be running now."""

    name: str
    folder: Path
    port: int
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    popen: subprocess.Popen[bytes] | None = None
    wanted: bool = False
    frozen: bool = False
    freezes: int = 0
    answered: bool = False
    began: bool = False
    """Since it was last started."""
    began_at: int = 0
    """Where in its log the last start begins."""
    died: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def start(self) -> None:
        with self.lock:
            always = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
            environment = {**os.environ, **always, **self.environment}  # noqa: TID251  a child's
            self.began_at = self.log.stat().st_size if self.log.exists() else 0
            with self.log.open("ab") as out:
                self.popen = subprocess.Popen(
                    self.command,
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=out,
                )
            self.wanted, self.frozen, self.answered, self.began = True, False, False, False

    def signal(self, number: int) -> None:
        with self.lock:
            if self.popen is not None and self.popen.poll() is None:
                self.popen.send_signal(number)

    def kill(self) -> None:
        with self.lock:
            self.wanted = False
            self.signal(signal.SIGKILL)
            if self.popen is not None:
                self.popen.wait(TERM_S)

    def freeze(self) -> None:
        with self.lock:
            self.frozen, self.freezes = True, self.freezes + 1
            self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        with self.lock:
            self.signal(signal.SIGCONT)
            self.frozen = False

    @contextmanager
    def limited(self, size: int) -> Iterator[None]:
        """No file of this process may grow beyond `size` meanwhile; Python ignores the signal, so that writes fail."""
        with self.lock:
            pid = self.popen.pid if self.popen is not None and self.popen.poll() is None else None
        if pid is None:
            yield
            return
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            with suppress(OSError):  # it may have ended meanwhile
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    def end(self) -> int | None:
        """SIGTERM; its exit code, or None where it did not end in time (then it is killed)."""
        with self.lock:
            self.wanted = False
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        if self.popen is None:
            return 0
        try:
            return self.popen.wait(TERM_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def supervise(self) -> None:
        """Start it again where it has ended by itself, as any supervisor would.

        That it did is a violation, unless it was started while what it needs was not there: then it must say so and end.
        """
        with self.lock:
            if self.wanted and self.popen is not None and self.popen.poll() is not None:
                lines = self.said()[-3:]
                refused = self.popen.returncode > 0 and any(why in line for why in REFUSED for line in lines)
                if not refused:
                    self.died.append(f"exit {self.popen.returncode}: {self.last_words()}")
                self.start()

    def works(self) -> bool:
        """Whether it has begun to work since it was last started; before that it may wait for a database."""
        if not self.began:
            self.began = any('"event": "started"' in line for line in self.said())
        return self.began

    def said(self) -> list[str]:
        """What it has logged since it was last started."""
        with self.log.open("rb") as file:
            file.seek(self.began_at)
            return file.read().decode(errors="replace").splitlines()

    def last_words(self) -> str:
        """Its last lines; of a crash the stacks of its threads, which faulthandler writes."""
        said = self.said()
        stacks = [line for line in said if line.strip() and not line.startswith("{")]
        return " | ".join(stacks or said[-3:])[:LAST_WORDS]

    def answers(self, path: str, timeout_s: float) -> int | None:
        with suppress(httpx.HTTPError):
            return httpx.get(self.url + path, timeout=timeout_s).status_code
        return None


@dataclass(slots=True)
class Cluster:
    """Three replicas. `elder` is never killed, so that its memory can be watched for as long as the soak takes."""

    folder: Path
    postgres: Postgres
    shops: ServedShops
    cable: Cable
    clock: Path
    stores: Path
    replicas: list[Replica] = field(default_factory=list)
    outbox_sql: str = ""
    files_at: datetime = field(default_factory=lambda: WallClock().now())
    """When stores.yaml was last made to ask for something else."""

    @property
    def elder(self) -> Replica:
        return self.replicas[0]

    def urls(self) -> list[str]:
        return [replica.url for replica in self.replicas if replica.wanted]

    def stores_text(self, wave: int) -> str:
        return stores_text(wave, {shop: self.shops.server.url(domain(shop)) for shop in SHOPS})


def settings(
    state_url: str, profiles_url: str, controller: Mapping[str, Any], clerk: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "version": 1,
        "state": {"url": state_url},
        "profiles": {
            "url": profiles_url,
            "table": "public.customers",
            "columns": {**{name: name for name in COLUMNS}, "image_url": "avatar_url"},
        },
        "clerk": {"webhook_secrets": [sender.SECRET], "instance_id": sender.INSTANCE, "upsert_profiles": True, **clerk},
        "controller": dict(controller),
    }


@contextmanager
def open_cluster(
    folder: Path,
    shops: ServedShops,
    *,
    controller: Mapping[str, Any],
    intervals: Mapping[str, Any] | None,
    clerk: Mapping[str, str],
) -> Iterator[Cluster]:
    """Postgres and three replicas' settings; `start_all` starts them."""
    with ExitStack() as stack:
        postgres = stack.enter_context(open_postgres())
        cable = stack.enter_context(Cable(postgres.server.port))
        cluster = Cluster(folder, postgres, shops, cable, folder / "clock", folder / "stores.yaml")
        cluster.clock.write_text("0")
        cluster.stores.write_text(cluster.stores_text(0))
        ports = {"elder": None, "pooled": postgres.pooler_port, "cabled": cable.port}
        for name, port in ports.items():
            config = folder / f"{name}.json"
            state, profiles = (postgres.url(user, port=port) for user in ("reconciler", "reader"))
            config.write_text(json.dumps(settings(state, profiles, controller, clerk)))
            listens = servers.free_port()
            options = {"clock": str(cluster.clock) if name == "cabled" else None, "intervals": intervals}
            plain = [str(Path(sys.executable).with_name("reconciler"))]
            wrapped = [sys.executable, "-m", "tests.chaos.replica", json.dumps(options)]
            command = [*(wrapped if any(options.values()) else plain), "--config", str(config)]
            command += ["--stores", str(cluster.stores)]
            replica = Replica(name, folder, listens, [*command, "run", "--port", str(listens)])
            cluster.replicas.append(replica)
            stack.callback(_end, replica)
            if name == "elder":
                subprocess.run([*command, "db", "upgrade"], cwd=ROOT, check=True, capture_output=True)
                made = subprocess.run([*command, "db", "outbox"], cwd=ROOT, check=True, capture_output=True, text=True)
                cluster.outbox_sql = made.stdout
        yield cluster


def _end(replica: Replica) -> None:
    replica.wanted = False
    if replica.running():
        replica.thaw()
        replica.kill()


def start_all(cluster: Cluster) -> None:
    for replica in cluster.replicas:
        replica.start()
    for replica in cluster.replicas:
        wait_for(lambda r=replica: r.answers("/readyz", 5) == 200, f"{replica.name} is ready", START_S)  # type: ignore[misc]


def wait_for(condition: Callable[[], Any], what: str, within_s: float) -> None:
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(0.1)
