"""The ways to go, side by side: what each loses, how long nobody can write, what it needs; and which one, and why.

Whatever the migration destroyed is gone in every way that has no copy of it: the vault's, or a snapshot's. Restoring is the one way that
also takes what was written since.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from unmigrate.plan.model import Blocker, Lock, Loss, Option, Verdict
from unmigrate.words import amount, span

_NAMED = 5
_NONE = "nothing that was there before"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A snapshot from before the migrations, or a point in time. before (seconds): how long before the first of them; seconds: that
    restoring takes, and basis: whence that is known; how: the command, if not by its id; disk: bytes; written: {table: rows written since
    it} by the server's counters, None without."""

    id: str
    before: float
    seconds: float | None = None
    basis: str = ""
    disk: int | None = None
    written: Mapping[str, int] | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class Vaulted:
    """The ways back that a guarded deploy left, as they stand on the target."""

    losses: tuple[Loss, ...]
    blockers: tuple[Blocker, ...]
    locks: tuple[Lock, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What was asked of a target. candidates: newest first, None where nobody was asked; trouble: why nobody could be."""

    blockers: tuple[Blocker, ...] = ()
    locks: tuple[Lock, ...] = ()
    vault: Vaulted | None = None
    candidates: tuple[Candidate, ...] | None = None
    trouble: str = ""
    batch: float | None = None


def options(verdicts: Sequence[Verdict], losses: Sequence[Loss], facts: Facts | None = None) -> tuple[Option, ...]:
    """facts: of the target; without them it is told what would have to be known."""
    known = facts or Facts()
    proved = bool(verdicts) and all(v.schema != "refused" for v in verdicts)
    found = [
        *([_from_vault(known.vault)] if known.vault else []),
        _reverse(proved, losses, known),
        *_refills(proved, losses, known),
        *_restores(losses, known),
        _forward(losses),
    ]
    if any(v.data == "unknown" for v in verdicts):
        found = [replace(o, loses=f"{_NONE} as far as is known") if o.loses == _NONE else o for o in found]
    chosen, why = _choice(found, proved, losses, known)
    return tuple(replace(o, recommended=o is chosen, reason=why if o is chosen else o.reason) for o in found)


def destroyed(losses: Sequence[Loss]) -> tuple[Loss, ...]:
    """What was there before and is not any more."""
    return tuple(loss for loss in losses if not loss.kind.startswith("added"))


def _gone(losses: Sequence[Loss]) -> str:
    names = sorted({loss.object for loss in losses})
    return f"the old values of {', '.join(names[:_NAMED])}{' …' if len(names) > _NAMED else ''}" if names else _NONE


def _locked(locks: Sequence[Lock]) -> tuple[float | None, str]:
    seconds = [lock.seconds for lock in locks if lock.seconds is not None]
    if not seconds and locks:
        return None, "the locks shown under locks"
    return round(sum(seconds), 3), "locks held, from the sizes of the tables" if locks else "no lock on a table that is there"


def _from_vault(vault: Vaulted) -> Option:
    seconds, basis = _locked(vault.locks)
    return Option(
        "reverse-vault", False, _gone(destroyed(vault.losses)), _time(seconds), "what `unmigrate deploy` kept in the vault",
        "nothing was destroyed: it was parked", blocked=_count(vault.blockers), seconds=seconds, basis=basis, disk=0,
        rows_lost={loss.object: None for loss in destroyed(vault.losses)},
    )  # fmt: skip


def _reverse(proved: bool, losses: Sequence[Loss], facts: Facts) -> Option:
    gone, (seconds, basis) = destroyed(losses), _locked(facts.locks)
    return Option(
        "reverse", False, _gone(gone), _time(seconds) if proved else "none: it is not run", "a proof on this server's major version",
        "keeps every row written since" if proved else "no way back could be proved", possible=proved, blocked=_count(facts.blockers),
        seconds=seconds, basis=basis, disk=0, rows_lost={loss.object: loss.rows for loss in gone},
    )  # fmt: skip


def _refills(proved: bool, losses: Sequence[Loss], facts: Facts) -> list[Option]:
    """One, from the newest snapshot that is from before; none where nothing was destroyed."""
    returning = destroyed(losses)
    if not returning:
        return []
    seconds, basis = _locked(facts.locks)
    said = "as reverse, then batches" if not facts.locks or seconds is None else f"{_time(seconds)} for the reverse, then batches"
    if facts.batch is not None:
        said += f" of about {facts.batch:.2f} s each"
    bare = Option(
        "reverse-refill", False, _uncertain(losses) or _gone(()), said, f"a snapshot from before the migration{_lacking(facts)}",
        "brings back what was destroyed, and keeps every row written since", possible=proved and facts.candidates is None,
        blocked=_count(facts.blockers), seconds=seconds, basis=basis, rows_lost={},
    )  # fmt: skip
    if not facts.candidates:
        return [bare]
    best = facts.candidates[0]
    named = ", ".join(loss.object for loss in returning[:_NAMED])
    between = f"what was written to {named} in the {span(best.before)} between snapshot and migration"
    loses = "; ".join(text for text in (between, _uncertain(losses)) if text)
    return [replace(bare, loses=loses, needs=f"unmigrate rollback --refill {best.id}", of=best.id, possible=proved, disk=best.disk)]


def _uncertain(losses: Sequence[Loss]) -> str:
    """What the migration did to rows returns as far as running it on the restored copy tells."""
    names = sorted({loss.object for loss in _values(losses)})
    return f"of {', '.join(names[:_NAMED])} what running the migration on a copy cannot tell" if names else ""


def _restores(losses: Sequence[Loss], facts: Facts) -> list[Option]:
    back = "brings back all that was destroyed, and loses newer rows" if destroyed(losses) else "slower, and loses newer rows"
    if not facts.candidates:
        needs = f"a snapshot from before the migration, or point-in-time recovery{_lacking(facts)}"
        downtime = "maintenance until the copy is restored"
        possible = facts.candidates is None
        return [Option("restore", False, "every row written since the snapshot", downtime, needs, back, possible=possible)]
    return [_restore(candidate, back) for candidate in facts.candidates]


def _restore(c: Candidate, back: str) -> Option:
    if c.written is None:
        loses, rows = f"every row written since it was taken, {span(c.before)} before the migration", {}
    else:
        rows = {name: count for name, count in c.written.items() if count}
        most = sorted(rows, key=lambda name: -rows[name])[:_NAMED]
        total = sum(rows.values())
        named = ", ".join(f"{name} {rows[name]:,}" for name in most)
        loses = (
            f"{amount(total, 'row')} written since: {named}{' …' if len(rows) > _NAMED else ''}"
            if rows
            else "nothing that was counted: no row was written since"
        )
    time = "maintenance until it is restored" if c.seconds is None else f"about {span(c.seconds)}, until it is restored"
    return Option(
        "restore", False, loses, time, f"{c.how or f'unmigrate restore {c.id}'}; a new connection string", back, of=c.id, seconds=c.seconds,
        basis=c.basis, disk=c.disk, rows_lost=None if c.written is None else dict(rows),
    )  # fmt: skip


def _values(losses: Sequence[Loss]) -> list[Loss]:
    return [loss for loss in losses if loss.kind == "values"]


def _forward(losses: Sequence[Loss]) -> Option:
    """What is gone stays gone here too."""
    gone = destroyed(losses)
    return Option(
        "roll-forward", False, _gone(gone), "none by itself; the app stays as it is until the new migration is there", "a new migration",
        "when the old app version can wait for it", rows_lost={loss.object: loss.rows for loss in gone},
    )  # fmt: skip


def _lacking(facts: Facts) -> str:
    if facts.trouble:
        return f" (they could not be asked for: {facts.trouble})"
    return "" if facts.candidates is None else " (there is none)"


def _choice(found: Sequence[Option], proved: bool, losses: Sequence[Loss], facts: Facts) -> tuple[Option | None, str]:
    """The one that loses least; of equals, the one that keeps writers out for the shortest time."""
    by_name: dict[str, Option] = {}
    for option in found:
        by_name.setdefault(option.name, option)
    free = next((o for o in found if o.name == "restore" and o.possible and o.of and o.rows_lost == {}), None)
    if "reverse-vault" in by_name and not by_name["reverse-vault"].rows_lost:
        return by_name["reverse-vault"], _blocked(by_name["reverse-vault"], "nothing was destroyed, and it takes a moment")
    if not proved:
        return _unproved(by_name)
    gone, refill = destroyed(losses), by_name.get("reverse-refill")
    if not gone:
        return by_name["reverse"], _blocked(by_name["reverse"], "nothing was destroyed, and every row written since stays")
    if free and _values(losses):
        return free, "brings everything back, and no row was counted as written since it was taken (restore looks again)"
    if refill and refill.possible and refill.of:
        kept = "brings back what was destroyed, and keeps every row written since"
        return refill, _blocked(refill, kept)
    why = "keeps every row written since; what was destroyed is gone in every way without a copy of it"
    if facts.candidates is None:
        why += ": with a snapshot from before, add --refill"
    return by_name["reverse"], _blocked(by_name["reverse"], why)


def _unproved(by_name: Mapping[str, Option]) -> tuple[Option | None, str]:
    restore = by_name["restore"]
    if restore.possible:
        return restore, "no way back could be proved; rows written since can be carried over (unmigrate carry-over)"
    return by_name["roll-forward"], "no way back could be proved, and no snapshot is from before the migration"


def _blocked(option: Option, why: str) -> str:
    if not option.blocked:
        return why
    rows = "an unknown number of rows block" if option.blocked < 0 else amount(option.blocked, "row blocks", "rows block")
    return f"{why}; {rows} it first: see the ways out"


def _count(blockers: Sequence[Blocker]) -> int:
    """-1 where some could not be counted."""
    return -1 if any(b.rows < 0 for b in blockers) else sum(b.rows for b in blockers)


def _time(seconds: float | None) -> str:
    return "the locks shown under locks" if seconds is None else f"about {seconds:.2f} s"
