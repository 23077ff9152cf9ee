"""A whole check: the state of the history, every new migration examined, linted by our rules and by squawk."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from unmigrate.catalog.model import Catalog
from unmigrate.check.base import Base
from unmigrate.check.examine import Examiner, examiner, pairs
from unmigrate.check.model import Advice, Examined, Pair, Report
from unmigrate.check.previous import AppTable, from_catalog, from_schema
from unmigrate.config.flags import Flag, gating
from unmigrate.config.lint import Lint
from unmigrate.inverse.replay import ReplayError
from unmigrate.lint import allow, squawk
from unmigrate.lint.model import Finding, Subject
from unmigrate.lint.rules import RULES
from unmigrate.lint.run import check_config, fails, finding, lint, with_levels
from unmigrate.lint.size import size
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.attempt import Attempt
from unmigrate.prove.dump import Committed, committed, dump, gone_back
from unmigrate.prove.history import SchemaProof
from unmigrate.prove.workspace import Workspace

Progress = Callable[[str], None]
MOST_WITNESSED = 5  # migrations at once: each costs two runs of pg_dump
NO_SQUAWK = "squawk is not installed, so its rules were not asked: pip install squawk-cli, or squawk = false in [lint]"


def check(
    work: Workspace, base: Base, config: Lint, *, root: Path, left_out: Sequence[str] = (), on_progress: Progress = lambda _: None,
    flags: Sequence[Flag] = (),
) -> Report:  # fmt: skip
    """Examine what is new. root: paths in findings are relative to it, and squawk runs there. Raises UsageError for a wrong [lint]."""
    check_config(config)
    files = {m.name: file_of(m, root) for m in base.new}
    running = squawk.start(root, list(files.values())) if config.squawk else None
    notes = [NO_SQUAWK] if config.squawk and base.new and squawk.program() is None else []
    notes += [*work.remarks(m.sql for m in (*base.kept, *base.new)), *left_out]
    history = list(_history(base, config, root))
    subjects: list[Subject] = []
    try:
        looking = examiner(work, base.kept, config, _previous(base, work.schema)) if base.new else None
    except ReplayError as error:
        looking = None
        notes.append(f"nothing was examined: the history does not replay on scratch: {error}; {error.remedy}")
    if looking is not None:
        subjects = list(_examine(work, looking, base, files, on_progress))
    foreign = with_levels(running.findings({f: n for n, f in files.items()}) if running else [], config)
    examined = tuple(
        _examined(subject, config, [f for f in foreign if f.migration == subject.migration.name], flags) for subject in subjects
    )
    seen = {e.name for e in examined}
    unexamined = tuple(m.name for m in base.new if m.name not in seen)
    every = [*history, *(f for e in examined for f in e.findings)]
    failed = fails(every, config) or bool(unexamined) or any(s.failure for s in subjects)
    server = work.pool.server
    total = len(base.kept) + len(base.new)
    return Report(base.label, server.label, server.version, total, examined, tuple(history), tuple(notes), unexamined, failed)


def file_of(migration: Migration, root: Path) -> str:
    """The path of a migration's file from `root`, with slashes; absolute where it is elsewhere."""
    path = (migration.folder / "migration.sql").resolve()
    return path.relative_to(root.resolve()).as_posix() if path.is_relative_to(root.resolve()) else path.as_posix()


def _previous(base: Base, default_schema: str) -> Callable[[Catalog], tuple[AppTable, ...]]:
    """What runs until all new migrations are there is the base's app; without its models every column may be the app's."""
    if base.schema is None or not base.schema.models:
        return from_catalog
    schema = base.schema
    return lambda before: from_schema(schema, default_schema, before)


def _examine(work: Workspace, looking: Examiner, base: Base, files: dict[str, str], on_progress: Progress) -> Iterator[Subject]:
    done = list(base.kept)
    few = len(base.new) <= MOST_WITNESSED
    try:
        for migration in base.new:
            on_progress(f"proving {migration.name}")
            last = few and migration is base.new[-1]
            before = dump(work, looking.stage.history.connection.info.dbname) if last else ""
            subject = looking.examine(migration, files[migration.name])
            done.append(migration)
            if few and subject.proof is not None and not subject.proof.refused:
                if last:  # its database is needed no more: no copy is
                    seen = gone_back(work, looking.stage.history, [migration], [subject.proof], before)
                else:
                    seen = committed(work, done, 1, [subject.proof])
                subject = _witnessed(subject, subject.proof, seen)
            yield subject
            if subject.failure is not None:
                return
    finally:
        looking.close()


def _witnessed(subject: Subject, proof: SchemaProof, seen: Committed) -> Subject:
    """With what a committed database shows: refused where pg_dump, as a second witness, sees a difference."""
    if seen.wrong:
        return replace(subject, proof=replace(proof, outcome=Attempt("refused", seen.wrong), steps=()))
    return replace(subject, proof=replace(proof, notes=(*proof.notes, *seen.notes)))


def _examined(subject: Subject, config: Lint, foreign: Sequence[Finding], flags: Sequence[Flag]) -> Examined:
    sql = subject.migration.sql
    reasons = allow.read(sql, frozenset(RULES)).reasons
    found = [*lint(subject, config), *allow.apply(list(foreign), reasons)]
    beside = tuple(Pair(text, sql[:start].count("\n") + 1 if text else 0, tuple(inverse)) for text, start, inverse in pairs(subject))
    return Examined(subject, size(subject), beside, tuple(found), _advice(subject, flags))


def _advice(subject: Subject, flags: Sequence[Flag]) -> Advice | None:
    """For what destroys and adds: only taking away needs no second migration, only time."""
    if subject.proof is None or not (subject.losses or (subject.data and subject.data.losses)):
        return None
    created = [o for o in subject.proof.delta.created if o.kind in ("table", "column")]
    tables = {o.key.oid for o in created if o.kind == "table"}
    new = tuple(sorted(o.name for o in created if o.kind == "table" or o.key.oid not in tables))
    name = subject.migration.name
    return Advice(f"unmigrate split {name}", new, tuple(f.name for f in gating(flags, [name]))) if new else None


def _history(base: Base, config: Lint, root: Path) -> Iterator[Finding]:
    """What is wrong with the history as a whole."""
    by_name = {m.name: m for m in (*base.kept, *base.new)}

    def told(rule: str, name: str, message: str) -> Finding:
        migration = by_name.get(name) or Migration(name, Path(name), "", "")
        return finding(rule, Subject(migration, file_of(migration, root) if name in by_name else ""), message, None, config)

    listed = [told("edited-migration", n, f"{n} is not what it is in {base.label}") for n in base.edited]
    listed += [told("removed-migration", n, f"{n} is in {base.label} and not here") for n in base.removed]
    listed += [told("out-of-order", n, f"{n} sorts before {last}, which {base.label} has") for n, last in base.late]
    yield from (f for f in listed if f.level != "off")
