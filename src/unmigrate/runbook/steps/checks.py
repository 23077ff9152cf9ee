"""Checks: from inside (SQL, commands, ledger, schema.prisma), and from outside (HTTP). A failing one stops the run."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident
from unmigrate.config import Config
from unmigrate.errors import FailedError, UnmigrateError
from unmigrate.prisma.ledger import read_ledger, states
from unmigrate.runbook.adapters import command, http
from unmigrate.runbook.model import Json, UnmetError
from unmigrate.runbook.scene import Scene
from unmigrate.runbook.step import Step
from unmigrate.words import amount

_NOT = "not compared"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check. says: what was found, or what was wrong, or that it could not be made ("not compared: …")."""

    name: str
    kind: str
    ok: bool
    says: str
    seconds: float


def run_sql(config: Config, connection: psycopg.Connection[Any]) -> list[Outcome]:
    def one(sql: str, equals: Any) -> str:
        with connection.transaction(force_rollback=True):
            connection.execute("set transaction read only; set local statement_timeout = '60s'")
            row = connection.execute(sql).fetchone()
        value = row[0] if row else None
        # A text is no answer: 'f' and 'no' are as true as any.
        if (value == equals) if equals is not None else (isinstance(value, int | float | Decimal) and bool(value)):
            return f"it is {value}"
        wanted = equals if equals is not None else "true, or a number other than 0"
        raise FailedError(
            f"it is {value!r}, expected {wanted!r}" if isinstance(value, str) else f"it is {value}, expected {wanted}", code="check"
        )

    return [_one(c.name, "sql", partial(one, c.sql, c.equals)) for c in config.checks.sql]


def run_commands(config: Config, root: Path, environ: Any, url: str) -> list[Outcome]:
    def one(text: str, seconds: float) -> str:
        out = command.run(text, cwd=root, environ=environ, seconds=seconds, extra={"DATABASE_URL": url}, secrets=secrets_of(url))
        return command.tail(out, secrets_of(url)).splitlines()[-1] if out.strip() else "ended with 0"

    return [_one(c.name, "command", partial(one, c.command, c.timeout)) for c in config.checks.command]


def run_http(config: Config, environ: Any, *, attempts: int, left: Callable[[], float]) -> list[Outcome]:
    """Each from its first request on, again until it passes or the attempts are used up."""

    def one(check: Any) -> str:
        for number in range(1, attempts + 1):
            try:
                return "; ".join(http.Client(environ).run(check.requests, left()))
            except UnmigrateError:
                if number == attempts:
                    raise
                time.sleep(config.checks.pause)
        raise AssertionError

    return [_one(c.name, "http", partial(one, c)) for c in config.checks.http]


def secrets_of(url: str) -> tuple[str, ...]:
    from urllib.parse import urlsplit

    password = urlsplit(url).password
    return (url, password) if password else (url,)


def _one(name: str, kind: str, work: Callable[[], str]) -> Outcome:
    began = time.monotonic()
    try:
        ok, says = True, work()
    except UnmigrateError as error:
        ok, says = False, str(error)
    except psycopg.Error as error:
        ok, says = False, str(error.diag.message_primary or error).strip()
    return Outcome(name, kind, ok, says, round(time.monotonic() - began, 3))


def _ledger(scene: Scene, connection: psycopg.Connection[Any]) -> str:
    rows = read_ledger(connection, scene.spec.schema)
    still = [s.name for s in states((), rows or ()) if s.name in scene.spec.migrations and s.state != "pending"]
    if rows is None or still:
        raise FailedError(f"the ledger still has {', '.join(still) or 'no table'}", code="check")
    return f"{amount(len(rows), 'row')}, none of {', '.join(scene.spec.migrations)}"


def _schema(scene: Scene, connection: psycopg.Connection[Any]) -> str:
    """The database against the schema.prisma of the version before, where a tag says which that is."""
    from unmigrate.verify.tag import extract, top_of

    if scene.spec.tag is None:
        return f"{_NOT}: no tag says which schema.prisma is the one before"
    top = top_of(scene.root)
    with tempfile.TemporaryDirectory(prefix="unmigrate-tag-") as folder:
        extract(top, scene.spec.tag, Path(folder))
        project = Path(folder) / scene.root.resolve().relative_to(top.resolve())
        found = _compare(scene, project, connection)
    if found:
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise FailedError(f"not as schema.prisma of {scene.spec.tag} says: {'; '.join(found[:5])}{more}", code="check")
    return f"as schema.prisma of {scene.spec.tag} says"


def _compare(scene: Scene, project: Path, connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    from unmigrate.catalog.parked import without_parked
    from unmigrate.catalog.read import read_catalog
    from unmigrate.prisma.project import find_project
    from unmigrate.prisma.schema import read_schema
    from unmigrate.verify.datamodel import datamodel_differences

    package = scene.spec.flags.get("package")
    found = find_project(project, package=package, schema=None, migrations=None, url=scene.current_text(), environ=scene.environ)
    return datamodel_differences(read_schema(found.schema_files), without_parked(read_catalog(connection)), scene.spec.schema)


def _inside(scene: Scene, prepared: Json) -> Json:
    text = scene.current_text()
    outcomes = []
    connection = scene.connect(text)
    try:
        outcomes.append(_one("ledger", "ledger", lambda: _ledger(scene, connection)))
        if scene.config.checks.schema:
            outcomes.append(_one("schema", "schema", lambda: _schema(scene, connection)))
        outcomes += run_sql(scene.config, connection)
    finally:
        connection.close()
    outcomes += run_commands(scene.config, scene.root, scene.environ, text)
    if status := scene.config.checks.prisma:
        outcomes.append(_one("prisma migrate status", "command", lambda: _prisma(scene, status, text)))
    return _judged(outcomes)


def _prisma(scene: Scene, status: str, url: str) -> str:
    cwd = scene.root / scene.config.app.checkout if scene.config.app.checkout else scene.root
    said = command.tail(scene.shell(status, {"DATABASE_URL": url}, cwd=cwd), secrets_of(url))
    return said.splitlines()[-1] if said else "ended with 0"


def _outside(scene: Scene, prepared: Json) -> Json:
    return _judged(run_http(scene.config, scene.environ, attempts=scene.config.checks.attempts, left=scene.left))


def _judged(outcomes: list[Outcome]) -> Json:
    if bad := [o for o in outcomes if not o.ok]:
        message = "; ".join(f"check {o.name}: {o.says}" for o in bad)
        remedy, found = "put right what it says, or the check", {"checks": [asdict(o) for o in outcomes]}
        raise UnmetError(message, code="check", remedy=remedy, found=found)
    undone = [o for o in outcomes if o.says.startswith(_NOT)]
    said = [f"{amount(len(outcomes) - len(undone), 'check')} passed", *(f"{o.name}: {o.says}" for o in undone)]
    return {"said": said, "checks": [asdict(o) for o in outcomes]}


def _shown_inside(scene: Scene) -> list[str]:
    c = scene.config.checks
    ledger = f"SELECT migration_name, finished_at, rolled_back_at FROM {ident(scene.spec.schema)}._prisma_migrations"
    lines = [ledger, *(["compare the database with schema.prisma"] if c.schema else [])]
    return lines + [s.sql for s in c.sql] + [s.command for s in c.command] + ([c.prisma] if c.prisma else [])


INSIDE = Step("inside-checks", "checks from inside", _shown_inside, _inside)
OUTSIDE = Step(
    "outside-checks", "checks from outside", lambda scene: [http.shown(r) for c in scene.config.checks.http for r in c.requests], _outside,
    retreat="maintenance-off",
)  # fmt: skip
