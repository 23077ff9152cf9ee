"""Restoring a dump by pg_restore into a database that was made for it: all of it, or only the rows of some tables."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import psycopg

from unmigrate.errors import RefusedError
from unmigrate.prisma.url import DatabaseUrl
from unmigrate.snapshot import dumps, programs, selection, toc
from unmigrate.snapshot.selection import Selection


@dataclass(frozen=True, slots=True)
class PgRestore:
    """program: pg_restore; folder, manifest: of the dump (`dumps`); jobs: sessions at a time; hush: secrets that no message may hold."""

    program: Path
    folder: Path
    manifest: dict[str, Any]
    jobs: int
    environ: Mapping[str, str]
    hush: Sequence[str]

    def check(self, read: Selection | None = None) -> None:
        """Raises RefusedError where files are not as they were written. read: what of the dump is looked at; None: all."""
        wanted = [name for name in self.manifest["files"] if read is None or read.reads(name)]
        if damaged := dumps.damaged(self.folder, self.manifest, wanted):
            message = f"{self.folder} is damaged: {', '.join(damaged[:3])} is not as it was written"
            raise RefusedError(message, code="damaged", remedy="choose another snapshot")

    def whole(self, target: DatabaseUrl, *sections: str) -> None:
        """All of it, or of these sections (--section=...)."""
        for listing in toc.passes(self._ask("--list", *sections)):
            self._run(target, *sections, listing=listing)

    def rows_of(self, target: DatabaseUrl, tables: Collection[str]) -> None:
        """Definitions, and the rows of these tables (SQL names); all of it where the dump does not tell which rows are theirs."""
        self._run(target, "--section=pre-data")
        with psycopg.connect(target.conninfo, autocommit=True) as made:
            names = selection.tables_with_rows(made, tables)
        chosen = selection.select(self._ask("--list"), self._ask("--schema-only", "--verbose", "--file=-"), names)
        self.check(chosen)
        if chosen is None:
            self.whole(target, "--section=data", "--section=post-data")
        else:
            self._run(target, listing=toc.use_list(chosen.entries))

    def shown(self, conninfo: str, tables: Collection[str] | None) -> tuple[str, ...]:
        """The commands, for a dry run: as a shell takes them, a list by a name that the comment explains. conninfo: without a password."""

        def command(*options: str) -> str:
            return programs.shown(self._command("pg_restore", conninfo, *options))

        if tables is not None:
            listed = f"  # LIST: rows and unique keys of {', '.join(tables)} and the ledger"
            return (command("--section=pre-data"), command("--use-list=LIST") + listed)
        if len(toc.passes(self._ask("--list"))) == 1:
            return (command(),)
        return (f"{command('--use-list=FIRST')}  # FIRST: {toc.FIRST}", f"{command('--use-list=SECOND')}  # SECOND: {toc.SECOND}")

    def _ask(self, *options: str) -> str:
        """What pg_restore prints of the dump, without a database."""
        command = [str(self.program), "--format=directory", *options, str(self.folder / dumps.DATA)]
        return programs.run(command, self.environ, what="pg_restore failed")

    def _run(self, target: DatabaseUrl, *options: str, listing: str = "") -> None:
        """What the options say; of that, where there is a listing, what it has."""
        conninfo, environ = programs.access(target, self.environ)
        with NamedTemporaryFile("w", prefix="unmigrate-") as file:
            file.write(listing)
            file.flush()
            chosen = (*options, f"--use-list={file.name}") if listing else options
            programs.run(self._command(str(self.program), conninfo, *chosen), environ, what="pg_restore failed", hush=self.hush)

    def _command(self, program: str, conninfo: str, *options: str) -> list[str]:
        always = ["--format=directory", f"--jobs={self.jobs}", "--exit-on-error", "--no-password"]
        return [program, *always, *options, f"--dbname={conninfo}", str(self.folder / dumps.DATA)]
