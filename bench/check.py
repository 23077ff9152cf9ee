"""What a check says of whole histories, and whether it is so. See bench/README.md.

Every migration is examined as if it were new. Printed per history and together: findings per rule, and how predictions stand to what the
rollback on scratch meets: losses (tables and columns whose content differs after the way back) and blockers (rows that stop it).
--out FILE: every finding and every disagreement, as JSON.
"""

import argparse
import json
import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg

import unmigrate
from unmigrate.check.examine import examiner
from unmigrate.config.lint import Lint
from unmigrate.inverse.checks import checks
from unmigrate.inverse.unseen import stricter
from unmigrate.lint import squawk
from unmigrate.lint.model import Subject
from unmigrate.lint.run import lint
from unmigrate.prisma.migrations import Migration, read_migrations
from unmigrate.prove.history import SchemaProof
from unmigrate.prove.rows import NEWER_ROWS, RowsHistory
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.rows import fill
from unmigrate.scratch.server import open_server
from unmigrate.sql.extensions import wanted_extensions


class Meeting(RowsHistory):
    """Notes what the rollback meets, whatever was predicted."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection)
        self.differs: list[str] = []
        self.counted: list[str] = []
        self.stops = ""

    def _changed(self, before: Any, content: Any, lost: set[str], present: Any) -> list[str]:
        every = self._tables(before.keys())
        self.differs = super()._changed(before, content, set(), every)
        now = self._contents(every)
        for name in before.keys() & every.keys():
            gone = [c for c in before[name].columns if content[name].columns.get(c) != now[name].columns.get(c)]
            quoted = self.connection.execute("SELECT quote_ident(c) FROM unnest(%s::text[]) c", [gone]).fetchall()
            self.differs += [f"{name}.{c}" for (c,) in quoted]
        return super()._changed(before, content, lost, present)

    def _newer_rows(self, proof: SchemaProof, oids: list[int]) -> tuple[str, ...]:
        """The predicted questions, asked of the same rows that the way back then meets."""
        self.connection.execute("SAVEPOINT unmigrate_ask")
        try:
            fill(self.connection, oids, per_table=NEWER_ROWS)
            for check in checks(proof.migration.name, proof.delta):
                row = self.connection.execute(check.count).fetchone()
                if row is not None and row[0]:
                    self.counted.append(check.object)
        except psycopg.Error as error:
            self.counted.append(f"cannot be asked: {error.diag.message_primary}")
        finally:
            self.connection.execute("ROLLBACK TO SAVEPOINT unmigrate_ask")
        found = super()._newer_rows(proof, oids)
        self.stops = next((gap for gap in found if "can stop the way back" in gap), "")
        return found


def look(folder: Path, limit: int | None, schema: str) -> dict[str, Any]:
    migrations = read_migrations(folder, on_code=lambda _: None)[:limit]
    findings: list[dict[str, Any]] = []
    wrong: list[dict[str, Any]] = []
    figures: Counter[str] = Counter()
    needed = wanted_extensions(m.sql for m in migrations)
    began = time.monotonic()
    with open_server(None, extensions=needed, environ=os.environ) as server, Pool(server) as pool:
        looking = examiner(Workspace(pool, schema), [], Lint())
        for migration in migrations:
            meeting = looking.rows = looking.rows if isinstance(looking.rows, Meeting) else Meeting(looking.rows.connection)
            meeting.differs, meeting.counted, meeting.stops = [], [], ""
            subject = looking.examine(migration, f"{migration.name}/migration.sql")
            found = lint(subject, Lint())
            findings += [{"rule": f.rule, "migration": f.migration, "line": f.line, "message": f.message} for f in found]
            figures.update(f.rule for f in {(f.rule, f.migration): f for f in found}.values())
            if subject.failure is not None:
                figures["stopped"] += 1
                break
            figures["migrations"] += 1
            judge(subject, meeting, figures, wrong)
        looking.close()
    figures["squawk differs"] = compare_squawk(folder, migrations)
    return {"folder": str(folder), "seconds": time.monotonic() - began, "figures": figures, "findings": findings, "wrong": wrong}


def judge(subject: Subject, meeting: Meeting, figures: Counter[str], wrong: list[dict[str, Any]]) -> None:
    if meeting.stopped or subject.data is None or subject.proof is None or subject.proof.refused:
        figures["rows not asked"] += 1
        return
    predicted = {loss.object for loss in subject.losses}
    met = {
        name for name in meeting.differs if not any(name == p or name.startswith(f"{p}.") or p.startswith(f"{name}.") for p in predicted)
    }
    seen = {loss.object for loss in subject.data.losses} - predicted
    figures["losses predicted"] += len(predicted)
    figures["losses met"] += sum(any(n == p or n.startswith(f"{p}.") or p.startswith(f"{n}.") for n in meeting.differs) for p in predicted)
    if met or seen:
        figures["losses met, not predicted"] += 1
        wrong.append({"migration": subject.migration.name, "met": sorted(met | seen), "predicted": sorted(predicted)})
    stops = bool(subject.data.blocked or meeting.stops)
    asked = bool(meeting.counted) if not subject.data.blocked else bool(subject.checks)
    asked = asked or (stops and any(stricter(subject.proof.delta)))  # told as uncounted
    figures["blockers predicted and met"] += stops and asked
    figures["neither predicted nor met"] += not stops and not asked
    if stops != asked:
        figures["blockers met, not predicted" if stops else "blockers predicted, not met"] += 1
        says = subject.data.blocked or meeting.stops
        wrong.append(
            {"migration": subject.migration.name, "stops": says, "asked": meeting.counted, "checks": [c.reason for c in subject.checks]}
        )


def compare_squawk(folder: Path, migrations: tuple[Migration, ...]) -> int:
    """How many findings differ from squawk's own output in its other format."""
    import subprocess

    files = [f"{m.name}/migration.sql" for m in migrations]
    running = squawk.start(folder, files)
    if running is None:
        return -1
    ours = Counter((f.file, f.line, f.column, f.rule.removeprefix("squawk/")) for f in running.findings({}))
    own = subprocess.run(
        [squawk.program() or "squawk", "--reporter", "tty", *files], cwd=folder, capture_output=True, text=True, check=False
    )
    theirs: Counter[Any] = Counter()
    plain = re.sub(r"\x1b\[[0-9;]*m|\x1b\]8;;[^\x1b]*\x1b\\", "", own.stdout)
    for rule, path, line, column in re.findall(r"^(?:warning|error)\[?([\w-]+)\]?: [^\0]*?╭▸ (.+?):(\d+):(\d+)$", plain, re.MULTILINE):
        theirs[(path, int(line), int(column), rule)] += 1
    return sum((ours - theirs).values()) + sum((theirs - ours).values())


# The command in a process that says what processor time (user and system) it took itself, without its children.
OWN = """
import resource, sys
from unmigrate.cli.main import main
sys.argv = ["unmigrate", "check", "--base", "main"]
try:
    main()
finally:
    own = resource.getrusage(resource.RUSAGE_SELF)
    print(own.ru_utime + own.ru_stime, file=sys.stderr)
"""


def speed(folder: Path, rounds: int = 5) -> str:
    """The whole command for one new migration (the last), in a git checkout: the first run, and the median of warm ones."""
    import shutil
    import statistics
    import subprocess
    import sys
    import tempfile

    migrations = read_migrations(folder, on_code=lambda _: None)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "checkout"
        root.mkdir()
        # as installed: our modules are compiled once, whatever this shell says of that
        environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path(name) / "compiled")}
        environ["PYTHONPATH"] = str(Path(unmigrate.__file__).parents[1])
        (root / "prisma").mkdir()
        (root / "prisma" / "schema.prisma").write_text('datasource db {\n  provider = "postgresql"\n  url = env("DATABASE_URL")\n}\n')
        shutil.copytree(folder, root / "prisma" / "migrations")
        last = root / "prisma" / "migrations" / migrations[-1].name
        text = (last / "migration.sql").read_text()
        shutil.rmtree(last)
        git = ["git", "-c", "user.name=b", "-c", "user.email=b@b"]
        for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "base"], ["checkout", "-qb", "feature"]):
            subprocess.run([*git, *words], cwd=root, check=True)
        last.mkdir()
        taken, ours = [], []
        for number in range(rounds + 1):
            (last / "migration.sql").write_text(f"{text}\n-- try {number}\n")  # what is new is never kept
            began = time.monotonic()
            done = subprocess.run([sys.executable, "-c", OWN], cwd=root, env=environ, capture_output=True, text=True, check=True)
            taken.append(time.monotonic() - began)
            ours.append(float(done.stderr.split()[-1]))
    warm, own = statistics.median(taken[1:]), statistics.median(ours[1:])
    return (
        f"{folder}: {len(migrations)} migrations: first {taken[0]:.1f} s, then {warm:.2f} s (least {min(taken[1:]):.2f}), of which "
        f"{own:.2f} s (least {min(ours[1:]):.2f}) of processor in our own process"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--schema", default="public")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--speed", action="store_true", help="time the whole command for one new migration instead")
    options = parser.parse_args()
    if options.speed:
        for folder in options.folders:
            print(speed(folder), flush=True)
        return
    results, total = [], Counter()
    for folder in options.folders:
        results.append(look(folder, options.limit, options.schema))
        total.update(results[-1]["figures"])
        print(
            f"{folder} ({results[-1]['seconds']:.0f} s): " + ", ".join(f"{k} {v}" for k, v in sorted(results[-1]["figures"].items())),
            flush=True,
        )
        if options.out:
            options.out.write_text(json.dumps(results, indent=1))
    print("together: " + ", ".join(f"{k} {v}" for k, v in sorted(total.items())))


if __name__ == "__main__":
    main()
