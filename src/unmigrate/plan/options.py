"""The ways to go, side by side."""

from collections.abc import Sequence

from unmigrate.plan.model import Loss, Option, Verdict


def options(verdicts: Sequence[Verdict], losses: Sequence[Loss]) -> tuple[Option, ...]:
    """Reverse, restore, roll forward: what each loses and needs. Restoring is priced by what it always costs."""
    proved = bool(verdicts) and all(v.schema != "refused" for v in verdicts)
    gone = sorted({loss.object for loss in losses if not loss.kind.startswith("added")})
    loses = f"values of {', '.join(gone[:5])}{' …' if len(gone) > 5 else ''}" if gone else "nothing that was there before"
    reverse = Option(
        "reverse", proved and not gone, loses, "the locks shown under locks", "a proof on this server's major version",
        "keeps every row written since" if proved else "no way back could be proved",
    )  # fmt: skip
    restore = Option(
        "restore", not proved or bool(gone), "every row written since the snapshot", "maintenance until the copy is restored",
        "a snapshot from before the migration, or point-in-time recovery",
        "brings back what the migration destroyed" if gone else "slower, and loses newer rows",
    )  # fmt: skip
    forward = Option("roll-forward", False, "nothing", "none", "a new migration", "when the old app version can wait for it")
    return reverse, restore, forward
