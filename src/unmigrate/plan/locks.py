"""Locks that the steps of a plan take on tables that are there now, from PostgreSQL's documentation of each command."""

import re

from unmigrate.catalog.observer import Delta
from unmigrate.inverse.model import InverseStep
from unmigrate.plan.model import Lock

EXCLUSIVE, SHARE_ROW, SHARE, SHARE_UPDATE = "ACCESS EXCLUSIVE", "SHARE ROW EXCLUSIVE", "SHARE", "SHARE UPDATE EXCLUSIVE"
_STRENGTH = (SHARE_UPDATE, SHARE, SHARE_ROW, EXCLUSIVE)
_WORK = ("metadata", "scan", "rewrite")
_TABLE = re.compile(r"^ALTER TABLE (?:ONLY )?((?:\"[^\"]+\"|\w+)\.(?:\"[^\"]+\"|\w+))")
_ON = re.compile(r" ON (?:ONLY )?((?:\"[^\"]+\"|\w+)\.(?:\"[^\"]+\"|\w+))")
_REFERENCES = re.compile(r"REFERENCES ((?:\"[^\"]+\"|\w+)\.(?:\"[^\"]+\"|\w+))")
_AS_TEXT = ("text", "character varying")  # types whose values are stored as text's
_METADATA_TYPE = re.compile(r"TYPE (text|character varying)(?: USING|$)")


def locks(steps: list[InverseStep], delta: Delta) -> list[Lock]:
    """Locks of undoing one migration, the strongest per table, in the order in which they are to be taken."""
    present = {o.name: o.name for o in delta.after if o.kind == "table"}
    present |= {old.name: new.name for old, new in delta.altered if new.kind == "table" and old.name not in present}
    indexes = {o.name: o.facts["table"] for o in delta.after if o.kind == "index"}
    gone = {o.name for o in delta.created if o.kind == "table"}
    types = {old.name: new.facts["type"] for old, new in delta.altered if new.kind == "column"}
    found: dict[str, Lock] = {}
    for step in steps:
        for table, mode, work in (*_of(step, indexes, types), *_referred(step, delta)):
            if name := present.get(table):
                found[name] = _stronger(found.get(name), Lock(name, mode, "metadata" if name in gone else work))  # type: ignore[arg-type]
    return [found[name] for name in sorted(found)]


def _referred(step: InverseStep, delta: Delta) -> list[tuple[str, str, str]]:
    """Tables that a foreign key refers to which goes with this step: its triggers there go too."""
    drops = step.sql.startswith("DROP TABLE") or " DROP CONSTRAINT " in step.sql or " DROP COLUMN " in step.sql
    if not drops:
        return []
    found = []
    for key in delta.after.of_kind("constraint").values():
        owner, label = key.facts.get("owner"), step.name.removeprefix(f"{key.facts.get('owner')}.")
        columns = key.facts["definition"].partition(" REFERENCES")[0]
        whole = step.name == (owner if step.kind == "table" else key.name if step.kind == "constraint" else "")
        if key.facts["contype"] == "f" and (whole or (step.kind == "column" and step.name.startswith(f"{owner}.") and label in columns)):
            found.append((key.facts["references"], EXCLUSIVE, "metadata"))
    return found


def _stronger(one: Lock | None, other: Lock) -> Lock:
    if one is None:
        return other
    mode = max(one.mode, other.mode, key=_STRENGTH.index)
    work = max(one.work, other.work, key=_WORK.index)
    return Lock(one.table, mode, work)


def _of(step: InverseStep, indexes: dict[str, str], types: dict[str, str]) -> list[tuple[str, str, str]]:
    sql = step.sql
    if sql.startswith("DROP TABLE"):
        return [(step.name, EXCLUSIVE, "metadata")]
    if sql.startswith("DROP INDEX"):
        return [(indexes[step.name], EXCLUSIVE, "metadata")] if step.name in indexes else []
    if sql.startswith(("CREATE INDEX", "CREATE UNIQUE INDEX")) and (on := _ON.search(sql)):
        return [] if "CONCURRENTLY" in sql else [(on[1], SHARE, "scan")]
    if "TRIGGER" in sql[:24] and (on := _ON.search(sql)):
        return [(on[1], SHARE_ROW if sql.startswith("CREATE") else EXCLUSIVE, "metadata")]
    if sql.startswith(("CREATE POLICY", "DROP POLICY", "ALTER POLICY", "DROP RULE")) and (on := _ON.search(sql)):
        return [(on[1], EXCLUSIVE, "metadata")]
    if match := _TABLE.match(sql):
        return _alter_table(match[1], sql, types.get(step.name, ""))
    return []


def _alter_table(table: str, sql: str, now: str) -> list[tuple[str, str, str]]:
    if " ADD CONSTRAINT " in sql and "FOREIGN KEY" in sql:
        other = _REFERENCES.search(sql)
        work = "metadata" if "NOT VALID" in sql else "scan"
        return [(table, SHARE_ROW, work), *([(other[1], SHARE_ROW, "metadata")] if other else [])]
    if " VALIDATE CONSTRAINT " in sql:
        return [(table, SHARE_UPDATE, "scan")]
    if " ADD CONSTRAINT " in sql or " SET NOT NULL" in sql:
        return [(table, EXCLUSIVE, "metadata" if "USING INDEX" in sql else "scan")]
    if re.search(r"ALTER COLUMN .+ TYPE ", sql):
        same = _METADATA_TYPE.search(sql) and now.startswith(_AS_TEXT) and not now.endswith("[]")
        return [(table, EXCLUSIVE, "metadata" if same else "rewrite")]
    if (
        re.search(r" ADD COLUMN .+(GENERATED ALWAYS AS \(|AS IDENTITY|nextval\(|random\()", sql)
        or " SET LOGGED" in sql
        or " SET UNLOGGED" in sql
    ):
        return [(table, EXCLUSIVE, "rewrite")]
    return [(table, EXCLUSIVE, "metadata")]
