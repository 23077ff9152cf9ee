"""The ways to go, side by side."""

from collections.abc import Sequence

from unmigrate.plan.model import Loss, Option, Verdict


def options(verdicts: Sequence[Verdict], losses: Sequence[Loss]) -> tuple[Option, ...]:
    """Reverse, restore, roll forward: what each loses and needs.

    A proved reverse is recommended even where the migration destroyed something: that is gone in every way but restoring, and
    restoring also takes every row written since.
    """
    proved = bool(verdicts) and all(v.schema != "refused" for v in verdicts)
    destroyed = sorted({loss.object for loss in losses if not loss.kind.startswith("added")})
    named = f"{', '.join(destroyed[:5])}{' …' if len(destroyed) > 5 else ''}"
    gone = f"the old values of {named}" if destroyed else "nothing that was there before"
    reverse = Option(
        "reverse", proved, gone, "the locks shown under locks", "a proof on this server's major version",
        "keeps every row written since" if proved else "no way back could be proved",
    )  # fmt: skip
    restore = Option(
        "restore", not proved, "every row written since the snapshot", "maintenance until the copy is restored",
        "a snapshot from before the migration, or point-in-time recovery",
        f"the only way that brings back {gone}" if destroyed else "slower, and loses newer rows",
    )  # fmt: skip
    forward = Option("roll-forward", False, gone, "none", "a new migration", "when the old app version can wait for it")
    return reverse, restore, forward
