"""A provider as somebody may write it: commands that copy databases of the same server, and keep what they are in a comment.

python commands.py list | create | protect | drop | restore | discard
"""

import json
import os
import sys
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from unmigrate.config.snapshot import Command


def commands(**more: Any) -> Command:
    """The configuration that calls this file."""
    call = f"{sys.executable} {__file__}"
    verbs = {verb: f"{call} {verb}" for verb in ("list", "create", "protect", "drop", "restore", "discard")}
    return Command(**{**verbs, "wait": 60.0, **more})


def url_of(name: str) -> str:
    parts = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, ""))


def connect(name: str) -> psycopg.Connection[Any]:
    parts = urlsplit(url_of(name))
    query = "&".join(p for p in parts.query.split("&") if not p.startswith("schema="))
    return psycopg.connect(urlunsplit((parts.scheme, parts.netloc, parts.path, query, "")), autocommit=True)


def refuse(code: str, message: str) -> None:
    print(json.dumps({"error": code, "message": message, "remedy": "do something else"}))
    sys.exit(3)


def known(server: psycopg.Connection[Any]) -> dict[str, dict[str, Any]]:
    sql = "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database"
    rows = server.execute(sql).fetchall()
    return {name: json.loads(text[3:]) for name, text in rows if text and text.startswith("cp ")}


def comment(server: psycopg.Connection[Any], name: str, what: dict[str, Any]) -> None:
    text = ("cp " + json.dumps(what)).replace("'", "''")
    server.execute(f"COMMENT ON DATABASE \"{name}\" IS '{text}'")


def copied(server: psycopg.Connection[Any], source: str, name: str, what: dict[str, Any]) -> None:
    server.execute('DROP DATABASE IF EXISTS "half_made"')
    server.execute(f'CREATE DATABASE "half_made" TEMPLATE "{source}"')
    row = server.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    what["at"] = row[0].isoformat()
    with server.transaction():
        server.execute(f'ALTER DATABASE "half_made" RENAME TO "{name}"')
        comment(server, name, what)


def snapshot(name: str, what: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "created_at": what["at"], "protected": what["protected"]}


def main(verb: str) -> None:
    e, source = os.environ, urlsplit(os.environ["DATABASE_URL"]).path.strip("/")
    with connect("postgres") as server:
        found, name, to = known(server), e.get("UNMIGRATE_SNAPSHOT", ""), e.get("UNMIGRATE_TO", "")
        if verb == "list":
            print(json.dumps([snapshot(n, w) for n, w in found.items() if w.get("of") == source]))
        elif verb == "create":
            row = server.execute("SELECT clock_timestamp()").fetchone()
            assert row is not None
            name = f"{source}_{row[0]:%H%M%S%f}_{e['UNMIGRATE_LABEL']}"
            copied(server, source, name, what := {"of": source, "protected": False})
            print("copied", json.dumps(snapshot(name, what)), sep="\n")
        elif verb == "protect":
            comment(server, name, what := {**found[name], "protected": e["UNMIGRATE_PROTECT"] == "on"})
            print(json.dumps(snapshot(name, what)))
        elif verb == "drop":
            server.execute(f'DROP DATABASE "{name}"')
        elif verb == "restore":
            there = server.execute("SELECT FROM pg_database WHERE datname = %s", [to]).fetchone() is not None
            if there and found.get(to, {}).get("restored") != name:
                refuse("taken", f"there is a database {to} already")
            if not there:
                copied(server, name, to, {"restored": name})
            print(json.dumps({"url": url_of(to), "fresh": not there}))
        elif verb == "discard" and server.execute("SELECT FROM pg_database WHERE datname = %s", [to]).fetchone() is not None:
            if not found.get(to, {}).get("restored"):
                refuse("not-ours", f"{to} was not restored")
            server.execute(f'DROP DATABASE "{to}"')


if __name__ == "__main__":
    main(sys.argv[1])
