"""The command line. Commands are found by name and imported when they run, so that --help answers at once."""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from unmigrate.errors import UnmigrateError

COMMANDS = {
    "check": "Check new migrations at the pull request: proof, locks, lints, previous app.",
    "split": "Make two migrations of a lossy one: add and fill now, drop later.",
    "audit": "Prove a whole history: one line per migration.",
    "plan": "Show the way back: statement and inverse, losses, blockers, locks, options.",
    "prove": "Prove the way back of migrations, or of a script of yours, on scratch.",
    "down": "Write the way back as plain SQL for psql.",
    "status": "Show the ledger, vault and unfinished operations of a database.",
    "rollback": "Roll back applied or failed migrations on a database.",
    "deploy": "Apply pending migrations so that nothing they destroy is lost.",
    "guard": "Keep what pending migrations destroy, where `prisma migrate deploy` runs them.",
    "redo": "Undo the undo: bring back what was rolled back last.",
    "purge": "Really drop what deploys and rollbacks have parked.",
    "snapshot": "Make, list, protect, drop and prune snapshots.",
    "restore": "Restore a snapshot into a new database or instance, and look at it.",
    "refill": "Bring back from a snapshot what a migration had destroyed, and keep newer rows.",
    "carry-over": "After a full restore: rows written to the old database since, counted and merged.",
    "verify": "Compare ledger, folder, live catalog, history and schema.prisma.",
    "run": "Run the whole runbook durably: run rollback, run list, run report.",
    "resume": "Go on with a run that was killed or stopped.",
    "abort": "Take the safe way out of a run.",
    "init": "Write an unmigrate.toml from what is found.",
    "checks": "Run the checks of unmigrate.toml alone.",
    "versions": "Show which git tags ship which migrations.",
    "demo": "Watch the whole story on an embedded server.",
    "doctor": "Check that everything needed is there, before the incident.",
}

_STATUS = "unmigrate status tells what was done"
_BATCH = "what was done stands, and the same command again goes on with the rest"
_ANEW = "what was begun is not taken for whole, and the same command again goes on or begins anew"
_RUN = "unmigrate resume goes on, unmigrate abort goes back"
# What to do when one that changes something was stopped in the middle.
CHANGES = {
    "rollback": _STATUS, "deploy": _STATUS, "guard": _STATUS, "redo": _STATUS, "purge": _STATUS, "refill": _BATCH, "carry-over": _BATCH,
    "snapshot": _ANEW, "restore": _ANEW, "run": _RUN, "resume": _RUN, "abort": _RUN,
}  # fmt: skip


class Interrupted(click.exceptions.Abort):
    """Ctrl-C while a command was at work."""

    def __init__(self, command: str) -> None:
        super().__init__()
        self.command = command


class Commands(click.Group):
    """A group whose commands live in modules of their own."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            click.echo(err=True)  # behind the terminal's ^C
            raise Interrupted(ctx.invoked_subcommand or "") from stop

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in CHANGES:
            from unmigrate.cli.render import outlive_readers

            outlive_readers()
        return name, command, rest

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"unmigrate.cli.{name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="unmigrate")
def cli() -> None:
    """The way back for Prisma migrations on PostgreSQL.

    Exit codes: 0 done, 1 found something, 2 usage, 3 refused for safety, 4 environment, 5 failed and rolled back,
    6 partly done and resumable.
    """


def main(argv: list[str] | None = None) -> int:
    """Entry of the command line; returns the exit status."""
    from unmigrate.errors import UnmigrateError

    try:
        result: Any = cli.main(args=argv, prog_name="unmigrate", standalone_mode=False)
    except click.exceptions.Abort as stop:
        return _stopped(stop)
    except click.ClickException as error:
        return _usage(error)
    except click.exceptions.Exit as error:
        return int(error.exit_code)
    except UnmigrateError as error:
        return _show(error)
    except Exception as error:
        if known := _translated(error):
            return _show(known)
        raise
    return int(result) if isinstance(result, int) else 0


def _stopped(stop: click.exceptions.Abort) -> int:
    """A no, or Ctrl-C: at a question, where nothing was changed yet, or in the middle of the work."""
    from unmigrate.cli.asking import Declined
    from unmigrate.cli.render import paragraph

    changes = CHANGES.get(stop.command) if isinstance(stop, Interrupted) else None
    paragraph(f"Stopped in the middle: {changes}." if changes else "Stopped; nothing was changed.", 0, err=True)
    if changes is _RUN:  # its session is still at work, in another thread
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)
    return 3 if isinstance(stop, Declined) else 130


def _usage(error: click.ClickException) -> int:
    """What click says, as we say it; without any words, its help."""
    from unmigrate.errors import UsageError

    context = getattr(error, "ctx", None)
    if context is None or type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    return _show(UsageError(error.format_message(), code="usage", remedy=f"{context.command_path} --help"))


def _show(error: "UnmigrateError") -> int:
    from unmigrate.cli.render import show_error

    show_error(error)
    return error.exit_status


def _translated(error: Exception) -> "UnmigrateError | None":
    """Errors of the parts below that mean something to a person; anything else is a bug and keeps its traceback."""
    import psycopg

    from unmigrate.errors import EnvironmentProblem, UsageError
    from unmigrate.inverse.replay import ReplayError
    from unmigrate.sql.script import ScriptError

    if isinstance(error, ReplayError):
        kind, code = (UsageError, "syntax") if error.unreadable else (EnvironmentProblem, "replay")
        return kind(f"the history does not replay on scratch: {error}", code=code, remedy=error.remedy)
    if isinstance(error, ScriptError):
        return UsageError(f"this is not SQL that PostgreSQL can parse: {error}", code="syntax", remedy="correct the file")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return EnvironmentProblem(str(error.diag.message_primary), code="privilege", remedy="unmigrate doctor says what is missing")
    if isinstance(error, psycopg.Error):
        return EnvironmentProblem(
            f"the database answers: {error.diag.message_primary or error}", code="database", remedy="unmigrate doctor"
        )
    return None


def run() -> None:
    """The console script."""
    sys.exit(main())
