"""Servers and poolers that let us in no more: each is named, with what to do, and asked again no sooner than it helps."""

from collections.abc import Iterator

import pytest

from reconciler.errors import ReconcilerError, SourceBusy, SourceError, StateError, TemporaryError
from reconciler.outbound.databases.logins import DbLogins
from reconciler.outbound.databases.refusals import db_refusal, telling_line
from reconciler.state.database.engine import open_engine, reading
from reconciler.supabase.reading.profiles import TableProfiles
from reconciler.supabase.writing.engine import open_writer
from reconciler.supabase.writing.upsert import ProfileUpserts
from tests.postgres_gate import Gate, postgres_gate

COLUMNS = {"clerk_user_id": "clerk_user_id", "email": "email"}
BLOCKED = "(ECIRCUITBREAKER) too many authentication failures, new connections are temporarily blocked"
SESSIONS = "(EMAXCONNSESSION) max clients reached in session mode - max clients are limited to pool_size: 15"

SAID = [
    ("XX000", BLOCKED, "each attempt renews the block", 130),
    (
        "XX000",
        (
            "Circuit breaker open: failed to retrieve database credentials after multiple attempts, new connections are "
            "temporarily blocked"
        ),
        "each attempt renews the block",
        130,
    ),
    ("XX000", "(ENOTFOUND) tenant/user reader.projectref not found", "another region", 130),
    ("XX000", "(ETENANTNOTFOUND) tenant or user not found", "paused or deleted project", 130),
    ("XX000", "Tenant or user not found", "paused or deleted project", 130),
    (
        "XX000",
        "(ENOIDENTIFIER) no tenant identifier provided (external_id or sni_hostname required)",
        "ROLE.PROJECT_REF",
        130,
    ),
    ("XX000", "(EADDRNOTALLOWED) address not in tenant allow_list: {10, 0, 0, 1}", "network restrictions", 130),
    ("XX000", "(EBANNED) tenant is banned: unpaid", "suspended", 130),
    ("XX000", "(ESSLREQUIRED) SSL connection is required for user: reader", "sslmode=require", 130),
    ("28P01", 'password authentication failed for user "reader"', "percent-encoded", 130),
    ("XX000", "(EAUTHQUERY) user not found in the database", "no such role", 130),
    ("28000", 'role "reader" does not exist', "no such role", 130),
    ("28000", 'role "reader" is not permitted to log in', "alter role", 130),
    (
        "28000",
        'no pg_hba.conf entry for host "10.0.0.1", user "reader", database "postgres", no encryption',
        "sslmode=require",
        130,
    ),
    (
        "28000",
        'no pg_hba.conf entry for host "10.0.0.1", user "reader", database "postgres", SSL encryption',
        "pg_hba.conf",
        130,
    ),
    ("XX000", SESSIONS, "port 6543", 5),
    ("XX000", "MaxClientsInSessionMode: max clients reached - in Session mode max clients", "port 6543", 5),
    ("XX000", "(EMAXCONN) max client connections reached, limit: 200", "stop other clients", 5),
    ("08P01", "no more connections allowed (max_client_conn)", "stop other clients", 5),
    ("53300", "sorry, too many clients already", "max_connections", 5),
    (
        "53300",
        "remaining connection slots are reserved for roles with the SUPERUSER attribute",
        "max_connections",
        5,
    ),
    ("53300", 'too many connections for role "reader"', "connection limit", 5),
    ("XX000", "(ECHECKOUTTIMEOUT) Pool checkout timeout. Request was dropped after 60000ms", "no free connection", 5),
    ("XX000", "(EDBHANDLEREXITED) connection to database closed. Check logs", "project runs", 0),
    ("08P01", "server login has been failing, try again later (server_login_retry)", "project runs", 0),
    ("3D000", 'database "postgres" does not exist', "Supabase's is postgres", 0),
    ("08P01", "unsupported startup parameter: options", "options=", 0),
]


@pytest.fixture
def gate() -> Iterator[Gate]:
    with postgres_gate() as gate:
        yield gate


class Steady:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def errors_of_all_three(gate: Gate, logins: DbLogins) -> list[ReconcilerError]:
    """What the reader of profiles, their writer and the state say of a server that refuses every login."""
    reader = TableProfiles(gate.url(), "public.customers", COLUMNS, logins=logins, wait_s=0)
    writer, state = open_writer(gate.url(), logins=logins), open_engine(gate.url(), logins=logins, wait_s=0)
    told: list[ReconcilerError] = []
    with pytest.raises(SourceError) as read:
        reader.check()
    with pytest.raises(TemporaryError) as written:
        ProfileUpserts(writer, "public.customers", COLUMNS).check()
    with pytest.raises(StateError) as kept, reading(state):
        pass
    told += [read.value, written.value, kept.value]
    reader.close()
    writer.dispose()
    state.dispose()
    return told


@pytest.mark.parametrize(("sqlstate", "says", "hint", "pause_s"), SAID)
def test_each_refusal_has_its_own_remedy_and_its_own_pause(
    gate: Gate, sqlstate: str, says: str, hint: str, pause_s: float
) -> None:
    gate.says = (sqlstate, says)
    steady = Steady()
    logins = DbLogins(steady)
    for error in errors_of_all_three(gate, logins):
        assert says in error.message
        assert hint in error.hint
        assert "s3cret" not in error.message + error.hint
    assert len(gate.logins) == (1 if pause_s else 3)
    if pause_s:
        steady.now += pause_s - 1
        errors_of_all_three(gate, logins)
        assert len(gate.logins) == 1
        steady.now += 1
        errors_of_all_three(gate, logins)
        assert len(gate.logins) == 2


def test_a_block_is_of_the_address_and_keeps_other_logins_away_too(gate: Gate) -> None:
    logins = DbLogins(Steady())
    gate.says = ("XX000", BLOCKED)
    for user in ("one.ref", "two.ref"):
        reader = TableProfiles(gate.url(user=user), "public.customers", COLUMNS, logins=logins)
        with pytest.raises(SourceBusy) as blocked:
            reader.check()
        assert blocked.value.retry_after_s == 130
        reader.close()
    assert [login["user"] for login in gate.logins] == ["one.ref"]


def test_a_wrong_password_keeps_no_one_away_who_has_another(gate: Gate) -> None:
    logins = DbLogins(Steady())
    gate.says = ("28P01", 'password authentication failed for user "reader"')
    for password in ("old", "old", "new"):
        reader = TableProfiles(gate.url(password=password), "public.customers", COLUMNS, logins=logins)
        with pytest.raises(SourceError):
            reader.check()
        reader.close()
    assert len(gate.logins) == 2


@pytest.mark.parametrize(
    ("says", "hint"),
    [
        ("failed to resolve host 'db.abcdefgh.supabase.co': [Errno -2] Name or service not known", "session pooler"),
        (
            (
                'connection failed: connection to server at "db.abcdefgh.supabase.co" (2a05:d018::1), port 5432 failed: '
                "Network is unreachable"
            ),
            "session pooler",
        ),
        (
            'connection failed: connection to server at "2001:db8::1", port 5432 failed: Network is unreachable',
            "session pooler",
        ),
        ("failed to resolve host 'db.example.com': [Errno -3] Temporary failure in name resolution", "name resolution"),
        ('connection to server at "aws-0-eu.pooler.supabase.com", port 6543 failed: Connection refused', "bans"),
        ('connection failed: root certificate file "/x/ca.crt" does not exist', "sslrootcert"),
        ("connection failed: SSL error: certificate verify failed", "sslrootcert"),
        ('server certificate for "a" does not match host name "b"', "host name that the certificate is for"),
        ("server does not support SSL, but SSL was required", "sslmode=disable"),
    ],
)
def test_what_never_reaches_a_server_has_its_remedy_too(says: str, hint: str) -> None:
    refusal = db_refusal(says, setting="profiles.url")
    assert refusal is not None
    assert hint in refusal.hint
    assert refusal.pause_s == 0


def test_of_several_addresses_the_one_where_a_server_answered_is_reported() -> None:
    said = (
        'connection to server at "::1", port 5432 failed: Connection refused\n\tIs the server running?\n'
        "Multiple connection attempts failed. All failures were:\n"
        "- host: 'localhost', port: '5432', hostaddr: '127.0.0.1': connection failed: FATAL:  (ENOTFOUND) tenant/user x\n"
        "- host: 'localhost', port: '5432', hostaddr: '::1': connection failed: Connection refused"
    )
    assert telling_line(said) == "connection failed: FATAL:  (ENOTFOUND) tenant/user x"
    assert telling_line("one\ntwo") == "one"
    assert telling_line("") == "no answer"
