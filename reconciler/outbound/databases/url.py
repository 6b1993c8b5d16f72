"""Database URLs: driver and TLS mode added, unknown parameters refused, and passwords hidden."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlsplit

from reconciler.errors import ConfigError
from reconciler.outbound.hosts import is_host

_PRISMA = {  # parameters of Prisma and other clients, which libpq refuses; with what to do instead
    "pgbouncer": "remove it: transaction poolers need no setting here",
    "connection_limit": "remove it: a process opens a few connections only",
    "pool_timeout": "remove it",
    "statement_cache_size": "remove it: no statement is prepared",
    "prepared_statements": "remove it: no statement is prepared",
    "prepareThreshold": "remove it: no statement is prepared",
    "prepare_threshold": "remove it: no statement is prepared",
    "schema": "remove it, and name the schema in profiles.table: SCHEMA.TABLE (the state has the schema reconciler)",
    "currentSchema": "remove it, and name the schema in profiles.table: SCHEMA.TABLE (the state has the schema reconciler)",
    "search_path": "remove it, and name the schema in profiles.table: SCHEMA.TABLE (the state has the schema reconciler)",
    "socket_timeout": "remove it: each statement has a limit",
    "sslaccept": "use sslmode=verify-full and sslrootcert=FILE, or sslmode=require",
    "ssl": "use sslmode=require, or sslmode=verify-full and sslrootcert=FILE",
    "sslidentity": "use sslcert=FILE and sslkey=FILE",
    "supa": "remove it",
    "workaround": "remove it",
}
_LIBPQ_WORDS = """
service user password passfile channel_binding connect_timeout dbname host hostaddr port client_encoding options
application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count
tcp_user_timeout sslmode sslnegotiation sslcompression sslcert sslkey sslcertmode sslpassword sslrootcert sslcrl
sslcrldir sslsni requirepeer require_auth ssl_min_protocol_version ssl_max_protocol_version min_protocol_version
max_protocol_version gssencmode krbsrvname gsslib gssdelegation replication target_session_attrs load_balance_hosts
scram_client_key scram_server_key sslkeylogfile oauth_issuer oauth_client_id oauth_client_secret oauth_scope servicefile
"""
_LIBPQ = frozenset(_LIBPQ_WORDS.split())  # postgresql.org/docs/18/libpq-connect.html, read 2026-11-29
_PASSWORD = re.compile(r"(?i)([?&](?:ssl)?password=)[^&]*")


def rewritten(url: str) -> str:
    """The URL for SQLAlchemy: with the driver psycopg, and `sslmode=require` for hosts other than this machine.

    Supabase accepts connections without TLS unless told otherwise, and libpq's default verifies nothing (Supabase docs,
    read 2026-11). An sslmode in the URL is kept. ConfigError if it is not a database URL.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/"):
        return url
    if scheme.split("+")[0] not in {"postgres", "postgresql"} or not rest:
        raise ConfigError(
            f"'{url_without_password(url)}' is not a database URL",
            hint="use sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME",
        )
    try:
        parts = urlsplit("postgresql+psycopg://" + _one_authority(rest))
        if parts.port == 0 or "@" in parts.path + parts.fragment:
            raise ValueError  # noqa: TRY301  the same words for all of them
    except ValueError:
        raise ConfigError(
            f"'{url_without_password(url)}' is not a database URL: its host and port can't be parsed",
            hint="percent-encode special characters of the password",
        ) from None
    query = parts.query
    names = dict(parse_qsl(query, keep_blank_values=True))
    _refuse_strange(names, url)
    hosts = names.get("host", parts.hostname or "").split(",")
    for host in hosts:
        if not _may_be_asked(host):
            raise ConfigError(
                f"'{url_without_password(url)}' is not a database URL: {host[:80]!r} is not a host",
                hint="use the provider's name of the server, or its address",
            )
    if "sslmode" not in names and not all(is_loopback(host) for host in hosts):
        query = f"{query}&sslmode=require" if query else "sslmode=require"
    shown_query = f"?{query}" if query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}{shown_query}"  # urlunsplit drops the slashes before a socket's path


def _one_authority(rest: str) -> str:
    """Move a list of servers, `h1:5432,h2:5432`, to libpq's parameters `host` and `port`.

    ValueError for an invalid port.
    """
    end = min((rest.index(mark) for mark in "/?#" if mark in rest), default=len(rest))
    login, at, servers = rest[:end].rpartition("@")
    if "," not in servers or ":" not in servers:
        return rest
    pairs = [urlsplit(f"//{server}") for server in servers.split(",")]
    hosts = ",".join(pair.hostname or "" for pair in pairs)
    ports = ",".join(str(pair.port or "") for pair in pairs)
    path, _, query = rest[end:].partition("?")
    return f"{login}{at}{path}?host={hosts}&port={ports}{'&' if query else ''}{query}"


def _refuse_strange(names: Iterable[str], url: str) -> None:
    """Raise ConfigError for a parameter that libpq would refuse at each connect."""
    for name in names:
        if name not in _LIBPQ:
            hint = _PRISMA.get(
                name, "remove it; libpq-connect.html in Postgres' documentation lists the known parameters"
            )
            raise ConfigError(
                f"'{url_without_password(url)}' has the parameter '{name}', which Postgres does not know", hint=hint
            )


def is_loopback(host: str) -> bool:
    """Whether this is the machine itself: a socket's path, localhost, 127.0.0.0/8 or ::1."""
    if host == "" or host.startswith(("/", "%2F", "%2f")) or host == "localhost":
        return True
    address = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _may_be_asked(host: str) -> bool:
    """Whether this is a socket's path or a valid host, possibly an international name."""
    if host == "" or host.startswith(("/", "@", "%2F", "%2f")) or ":" in host:
        return True
    try:
        return is_host(host.encode("idna").decode())
    except UnicodeError:
        return False


def url_without_password(url: str) -> str:
    """The URL without its password, for messages; `***` if it is not a URL and might contain a password."""
    scheme, sep, rest = url.partition("://")
    if not sep:
        return "***" if set(":@=") & set(url) else url
    if "@" in rest:
        login, _, rest = rest.rpartition("@")
        scheme, sep = f"{scheme}{sep}{quote(login.partition(':')[0], safe='%.')}", ":***@"
    return scheme + sep + _PASSWORD.sub(r"\1***", rest)
