"""Prisma's URLs as libpq's strings, and what is said when a database cannot be reached."""

from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict

from unmigrate.errors import EnvironmentProblem, RefusedError, UsageError
from unmigrate.prisma import url
from unmigrate.prisma.url import _unreachable, connect, parse_url, schema_of
from unmigrate.scratch.server import Server, given


def libpq(text: str) -> dict[str, object]:
    return dict(conninfo_to_dict(parse_url(text).conninfo))


def test_a_whole_url() -> None:
    assert libpq("postgresql://me:secret@db.example:6543/app?schema=s&sslmode=require&connect_timeout=9") == {
        "user": "me", "password": "secret", "host": "db.example", "port": "6543", "dbname": "app", "sslmode": "require", "connect_timeout": "9",
    }  # fmt: skip


def test_what_is_left_out_is_as_with_prisma() -> None:
    assert libpq("postgres://") == {"host": "localhost", "port": "5432", "dbname": "postgres", "connect_timeout": "5"}


def test_prismas_own_parameters_are_not_passed_on() -> None:
    own = "connection_limit=5&pool_timeout=0&statement_cache_size=0&socket_timeout=3&single_use_connections=true&pgbouncer=true&max_idle_connection_lifetime=1"
    assert libpq(f"postgresql://h/db?{own}&schema=x") == {"host": "h", "port": "5432", "dbname": "db", "connect_timeout": "5"}


def test_the_schema() -> None:
    assert parse_url("postgresql://h/db?schema=my%20schema").schema == "my schema"
    assert parse_url("postgresql://h/db").schema == "public"
    assert schema_of("postgresql://h/db?sslmode=require&schema=a") == "a"
    assert schema_of(None) == "public"


def test_secrets_with_special_characters() -> None:
    found = libpq("postgresql://m%40e:p%40ss%2F%23%3A%20word@h/d%20b")
    assert (found["user"], found["password"], found["dbname"]) == ("m@e", "p@ss/#: word", "d b")


def test_certificates() -> None:
    found = libpq("postgresql://h/db?sslmode=require&sslcert=/etc/ca.pem&sslaccept=strict&sslidentity=client.p12&sslpassword=x")
    assert (found["sslrootcert"], found["sslmode"]) == ("/etc/ca.pem", "verify-full")
    assert "sslidentity" not in found
    assert "sslcert" not in found


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("postgresql://u@localhost/db?host=/Run/Sockets", "/Run/Sockets"),
        ("postgresql://u@%2FRun%2FSockets/db", "/Run/Sockets"),
        ("postgresql://u@[::1]:5433/db", "::1"),
        ("postgresql://u@Db.Example/db", "Db.Example"),
    ],
)
def test_hosts_and_sockets(text: str, host: str) -> None:
    assert libpq(text)["host"] == host


def test_no_password_is_shown() -> None:
    url = parse_url("postgresql://me:s3cr3t@h:1/db?schema=x&sslpassword=s3cr3t")
    assert "s3cr3t" not in url.display + repr(url)
    assert url.display == "postgresql://me@h:1/db"


@pytest.mark.parametrize("secret", ["p#ss", "p/ss", "p?ss", "12#3", "p[ss", "7/8"])
def test_a_password_that_should_be_encoded(secret: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(f"postgresql://me:{secret}@h/db")
    assert caught.value.code == "url"
    assert "percent-encode" in caught.value.remedy
    assert secret not in str(caught.value)


@pytest.mark.parametrize("text", ["mysql://h/db", "file:./dev.db", "prisma://accelerate.example/?api_key=s3cr3t"])
def test_what_is_not_postgresqls(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_url(text)
    assert caught.value.code == "provider"
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("text", ["s3cr3t", "", "localhost:5432/s3cr3t"])
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(text)
    assert caught.value.code == "url"
    assert "s3cr3t" not in str(caught.value)


def test_a_pooler_is_refused() -> None:
    url = parse_url("postgresql://me@h/db?pgbouncer=true")
    with pytest.raises(RefusedError, match="pooler") as caught:
        connect(url)
    assert "directUrl" in caught.value.remedy


def test_nobody_there() -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        connect(parse_url("postgresql://me:s3cr3t@127.0.0.1:1/db"))
    assert caught.value.code == "unreachable"
    assert str(caught.value).endswith("cannot be reached: Connection refused")
    assert "s3cr3t" not in str(caught.value)


def test_an_old_server_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url, "OLDEST_MAJOR", 99)
    libpq = conninfo_to_dict(server.conninfo)
    address = f"postgresql://{libpq['user']}@localhost:{libpq['port']}/postgres?host={quote(str(libpq['host']), safe='')}"
    for ask in (lambda: connect(parse_url(address)), lambda: given(server.conninfo)):
        with pytest.raises(EnvironmentProblem, match=r"runs PostgreSQL \d+\.\d+, which is older than 99") as caught:
            ask()
        assert (caught.value.code, caught.value.remedy) == ("old-server", "upgrade the server: unmigrate needs 99 or newer")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('FATAL:  password authentication failed for user "me"', "password"),
        ("fe_sendauth: no password supplied", "password"),
        ('FATAL:  role "my database" does not exist', "password"),
        ('FATAL:  database "role" does not exist', "no-database"),
        ('FATAL:  permission denied for database "db"\nDETAIL:  User does not have CONNECT privilege.', "privilege"),
        ("FATAL:  sorry, too many clients already", "no-slot"),
        ("FATAL:  the database system is starting up", "not-ready"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "me", database "db", no encryption', "not-admitted"),
        ("FATAL:  connection requires a valid client certificate", "certificate"),
        ("something new", "unreachable"),
    ],
)
def test_reasons(said: str, code: str) -> None:
    error = _unreachable(parse_url("postgresql://me:s3cr3t@h/db"), said)
    assert (error.code, error.exit_status) == (code, 4)
    assert error.remedy
