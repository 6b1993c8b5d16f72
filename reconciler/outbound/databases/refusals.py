"""The causes of connection errors of Postgres servers and poolers, by SQLSTATE or code word.

A driver reports an error at connect as text without SQLSTATE. The code words are those of Supavisor (its source,
lib/supavisor/errors, read 2026-11-29; before 2026 it said the same without them), PgBouncer and PostgreSQL.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from reconciler.core.model.frozen import frozen

RefusalKind = Literal["blocked", "login", "crowded", "setup", "away"]

PAUSES_S: Final[dict[RefusalKind, float]] = {
    "blocked": 130.0,  # Supavisor blocks an address for two minutes, and each attempt begins them again
    "login": 130.0,  # a few wrong logins lead to that block, or to a ban of the address
    "crowded": 5.0,
    "setup": 0.0,
    "away": 0.0,
}
_IPV6_DIRECT = (
    "a direct address of Supabase has IPv6 only, unless the project has the IPv4 add-on: in a network without IPv6 use the "
    "session pooler's address from the dashboard's Connect dialog; a paused or deleted project has no name at all"
)
_IPV6 = (
    "the address that was tried is IPv6, and this network does not reach it: name in {url} a host with IPv4, at Supabase "
    "the session pooler's"
)
_NO_NAME = "failed to resolve host|could not translate host name|name or service not known|no address associated"
_NO_NAME += "|name resolution|nodename nor servname"
_NO_ROUTE = "network is unreachable|no route to host|cannot assign requested address|address family not supported"
_SUPABASE_DIRECT = re.compile(r"db\.[a-z0-9]+\.supabase\.(co|com|in|net|red)", re.IGNORECASE)
_SUPABASE = re.compile(r"\.supabase\.(co|com|in|net|red)$", re.IGNORECASE)
_IPV6_ADDRESS = re.compile(r"[(\"'][0-9a-f]*:[0-9a-f:]+[)\"']", re.IGNORECASE)
_HOST = re.compile(r"(?:server at|resolve host|translate host name|host:) [\"']([^\"']+)[\"']")

_KINDS: Final[tuple[tuple[str, RefusalKind, str], ...]] = (  # the first with matching words
    (
        r"ECIRCUITBREAKER|circuit breaker|connections are temporarily blocked",
        "blocked",
        (
            "the pooler blocks this machine's address after failed logins, and each attempt renews the block: stop all "
            "clients that have an old password, correct {url}, and wait two minutes"
        ),
    ),
    (
        r"ENOIDENTIFIER|no tenant identifier",
        "login",
        "a shared pooler learns the project from the user's name: write ROLE.PROJECT_REF as user in {url}",
    ),
    (
        r"\(ENOTFOUND\)|ETENANTNOTFOUND|tenant or user not found|tenant/user .* not found|EINVALIDUSERINFO",
        "login",
        (
            "compare user (ROLE.PROJECT_REF) and host in {url} with the dashboard's Connect dialog: the host of another "
            "region or cluster (aws-0, aws-1), a paused or deleted project, and a role that the pooler does not know are "
            "answered so"
        ),
    ),
    (r"EBANNED|tenant is banned", "login", "the project is suspended: see its page in the dashboard"),
    (
        r"EADDRNOTALLOWED|not in tenant allow_list",
        "login",
        "add this machine's address to the project's network restrictions (dashboard, Database, Settings)",
    ),
    (
        r"ESSLREQUIRED|SSL connection is required|no pg_hba\.conf entry.*(no encryption|SSL off)",
        "login",
        "the server wants TLS: set sslmode=require in {url}, or verify-full with sslrootcert",
    ),
    (
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        "login",
        (
            "the server lets this user not in from this address: add a line to pg_hba.conf, or the address to the project's "
            "network restrictions"
        ),
    ),
    (
        r"EWRONGPASSWORD|password authentication failed|SASL authentication failed|no password supplied",
        "login",
        "check user and password in {url} (a password must be percent-encoded)",
    ),
    (
        r"EAUTHQUERY.*user not found|no such user|role \".*\" does not exist",
        "login",
        "check the user in {url}: the database has no such role",
    ),
    (r"is not permitted to log in", "login", "alter role … login; or name another user in {url}"),
    (
        r"EMAXCONNSESSION|EMAXCLIENTSESSION|MaxClientsInSessionMode|in session mode",
        "crowded",
        (
            "in session mode each client holds one of pool_size connections: stop other clients, raise the pool size, or "
            "use the transaction pooler (port 6543) in {url}"
        ),
    ),
    (
        r"EMAXCONN|EMAXCLIENTCONN|EMAXPROXYCONN|max client connections reached|no more connections allowed",
        "crowded",
        "the pooler has as many clients as it takes: stop other clients, or raise its limit",
    ),
    (
        r"remaining connection slots|too many clients already|too many connections",
        "crowded",
        (
            "the server has no connection left for us: stop other clients, connect through its pooler, or raise "
            "max_connections or the role's connection limit"
        ),
    ),
    (
        r"ECHECKOUTTIMEOUT|query_wait_timeout",
        "crowded",
        "the pooler found no free connection in time: look for long statements and idle transactions of other clients",
    ),
    (
        r"root certificate file|sslrootcert|could not open certificate|could not read root certificate",
        "setup",
        "download the project's certificate (dashboard, Database, SSL) and name its file in sslrootcert of {url}",
    ),
    (
        r"server certificate for .* does not match|does not match host name",
        "setup",
        "use in {url} the host name that the certificate is for",
    ),
    (
        r"certificate verify failed|self[- ]signed certificate|unknown ca|certificate has expired",
        "setup",
        (
            "the server's certificate is not signed by what sslrootcert of {url} trusts: download the project's current "
            "certificate (dashboard, Database, SSL)"
        ),
    ),
    (
        r"server does not support SSL",
        "setup",
        "the server has no TLS: set sslmode=disable in {url} where the network between is trusted, else turn TLS on there",
    ),
    (
        r"unsupported startup parameter|EINVALIDSTARTUPOPTION|ESETNOTALLOWED",
        "setup",
        "the pooler takes no settings at connect: remove options=… from {url}",
    ),
    (r"database \".*\" does not exist", "setup", "name a database that is there in {url}; Supabase's is postgres"),
    (
        r"EDBHANDLEREXITED|EPOOLTERMINATING|EAUTHTIMEOUT|EAUTHQUERY|server_login_retry|server login has been failing",
        "away",
        "the pooler can't reach its database: check that the project runs; it is tried again",
    ),
    (
        "the server has been silent for",
        "away",
        "the server does not answer, or the statement is very slow: check it, and a pooler or proxy that keeps connections",
    ),
)


@frozen
class DbRefusal:
    """The kind of a refused connection, and what to do.

    `kind`: "blocked" (this address, for a while), "login" (these credentials), "crowded" (no connection is free), "setup"
    (the URL or the server must change), "away" (the server is not reached).
    """

    kind: RefusalKind
    hint: str

    @property
    def pause_s(self) -> float:
        """Seconds without another attempt."""
        return PAUSES_S[self.kind]

    @property
    def heals(self) -> bool:
        """Whether the refusal may pass without any change."""
        return self.kind in {"blocked", "crowded", "away"}


def db_refusal(said: str, *, setting: str, host: str = "") -> DbRefusal | None:
    """The refusal in an error text at connect; None if there is none. `setting` is the setting with the URL."""
    named = _HOST.search(said)
    host = host or (named[1] if named is not None else "")
    # Compiled here and not before: most commands meet no refusal.
    known = ((kind, hint) for words, kind, hint in _KINDS if re.search(words, said, re.IGNORECASE))
    found = next(known, None) or _unreached(said, host)
    return DbRefusal(found[0], found[1].format(url=setting, host=host)) if found is not None else None


def _unreached(said: str, host: str) -> tuple[RefusalKind, str] | None:
    has_no_name = re.search(_NO_NAME, said, re.IGNORECASE) is not None
    has_no_route = re.search(_NO_ROUTE, said, re.IGNORECASE) is not None
    is_late = re.search("timeout expired|timed out", said, re.IGNORECASE) is not None
    if (has_no_name or has_no_route or is_late) and _SUPABASE_DIRECT.fullmatch(host):
        return "away", _IPV6_DIRECT
    if has_no_route and _IPV6_ADDRESS.search(said):
        return "away", _IPV6
    if has_no_name:
        return "away", "check the host in {url} and this machine's name resolution"
    if has_no_route:
        return "away", "check the host in {url}, this machine's network and the firewalls between"
    if _SUPABASE.search(host) and (is_late or "connection refused" in said.lower()):
        return (
            "away",
            "check in the dashboard that the project runs, and whether it bans this machine's address (Database, Settings)",
        )
    return None


def telling_line(said: str) -> str:
    """The most specific line of a driver's error text: the server's own, if several addresses were tried.

    Other lines are left out, since they may contain values of rows.
    """
    lines = said.strip().splitlines()
    if not lines:
        return "no answer"
    is_of_several = any(line.startswith("Multiple connection attempts failed") for line in lines)
    if "FATAL:" in lines[0] or not is_of_several:
        return lines[0]
    fatal = next((line for line in lines if line.startswith("- host:") and "FATAL:" in line), None)
    return lines[0] if fatal is None else re.sub(r"^- host: .*?, hostaddr: \S+: ", "", fatal)
