"""The story of `unmigrate demo`: an epic is deployed, the runbook cannot undo it, and it is rolled back all the same.

Every command is the one a user would type. What the story claims at its end it has measured.
"""

from collections.abc import Callable

from unmigrate.demo.stage import EPIC, PACKAGE, Stage, set_up
from unmigrate.errors import FailedError

Command = Callable[[list[str]], int]
Say = Callable[[str], None]
HERE = ["--filter", PACKAGE]


def tell(run: Command, say: Say) -> int:
    """Tell the story. run: our command line, shown as it is typed; say: how the narrator speaks. Raises FailedError if it ends badly."""
    with set_up() as stage:
        _deployed(stage, say)
        _runbook(run, say)
        _planned(run, say)
        before = stage.contents()
        _rolled_back(run, say)
        _verified(stage, run, say)
        _counted(stage, before, say)
    return 0


def _deployed(stage: Stage, say: Say) -> None:
    say(f"1. A release goes out   ({stage.label}, thrown away afterwards)\n")
    earlier = stage.deploy(epic=False)
    stage.work("rows-before.sql")
    stage.deploy(epic=True)
    stage.work("rows-after.sql")
    say(f"A project hub in production: {len(earlier)} migrations, 200 projects. This morning the epic PM-05 was deployed: five tables and")
    say("five enums, a value added to an older enum, a column renamed, one dropped, one added, an index replaced.")
    say("People have worked with it since: 12 new projects, 90 risks, 300 health checks. Now the epic must go.")


def _runbook(run: Command, say: Say) -> None:
    say("\n2. The runbook has a script for that\n")
    say("It was written from the names in schema.prisma. Before anybody runs it: what would it really do?")
    _expect(run(["prove", "--down", "runbook-rollback.sql", *HERE]), 3)
    say("\nThe tables have other names (@@map), so IF EXISTS finds nothing and says so to nobody. The enums are in use; two of them")
    say("are older than the epic. And the script has never heard of the columns, the index and the enum's value.")


def _planned(run: Command, say: Say) -> None:
    say("\n3. What did the migration do, and what undoes it?\n")
    say("The history is replayed on a scratch server, and what the epic did is read from the catalog. Nothing is guessed from its text.")
    _expect(run(["plan", *HERE]), 1)
    say("\n4. Does that work?\n")
    say("Up and down again on scratch, with generated rows: the catalog, pg_dump and every surviving value are compared.")
    _expect(run(["prove", *HERE]), 1)
    say("\nIt does, but for two things it tells beforehand: `health` returns as the last column, and the values it had when the epic")
    say("dropped it are gone. A snapshot has those, but none of this morning's rows. The team decides to keep the morning.")


def _rolled_back(run: Command, say: Say) -> None:
    say("\n5. Back, in one short transaction\n")
    _expect(run(["rollback", EPIC, "--yes", "--accept-loss", *HERE]), 0)


def _verified(stage: Stage, run: Command, say: Say) -> None:
    say("\n6. Is everything in its place?\n")
    say("The application goes back too: its previous release has no PM-05 folder, and the schema.prisma of before.")
    stage.previous_release()
    _expect(run(["status", *HERE]), 0)
    _expect(run(["verify", *HERE]), 0)


def _counted(stage: Stage, before: dict[tuple[int, int], str], say: Say) -> None:
    after = stage.contents()
    survivors = before.keys() & after.keys()
    if any(before[column] != after[column] for column in survivors):
        raise FailedError("a surviving column holds other values than before the rollback", code="demo", remedy="this is a bug: report it")
    projects, budgets = stage.count("select count(*) from projects"), stage.count("select count(budget) from projects")
    say(f"\n{projects} projects, this morning's 12 among them; {budgets} budgets under their old name.")
    say(f"All {len(survivors)} columns that survive hold the same values as before the rollback.")
    say(f"{stage.kept()} rows of what the epic had added are kept in the vault.")


def _expect(status: int, wanted: int) -> None:
    """The story goes on only as it is told."""
    if status != wanted:
        raise FailedError(f"the story went wrong: exit status {status} instead of {wanted}", code="demo", remedy="this is a bug: report it")
