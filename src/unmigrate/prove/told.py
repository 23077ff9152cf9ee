"""Schema proofs as another process tells them: small, for the catalog before and after is told by what changed since the last one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.inverse.model import InverseStep
from unmigrate.inverse.replay import Mode
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.attempt import Attempt
from unmigrate.prove.history import SchemaProof


@dataclass(frozen=True, slots=True)
class Change:
    """What leads from one catalog to another."""

    gone: tuple[Key, ...]
    there: tuple[Object, ...]  # new, or in another state

    @classmethod
    def between(cls, old: Catalog, new: Catalog, keys: Iterable[Key] | None = None) -> "Change":
        """keys: where to look; None: everywhere."""
        if old is new:
            return cls((), ())
        chosen = old.objects.keys() | new.objects.keys() if keys is None else keys
        changed = {k for k in chosen if old.objects.get(k) != new.objects.get(k)}
        gone = tuple(sorted(k for k in changed if k not in new.objects))
        return cls(gone, tuple(o for k, o in new.objects.items() if k in changed) if len(gone) < len(changed) else ())

    def after(self, old: Catalog) -> Catalog:
        """What `old` becomes; itself where nothing changed."""
        if not self.gone and not self.there:
            return old
        new = old.copy()
        for key in self.gone:
            new.remove(key)
        for o in self.there:
            new.put(o)
        return new


@dataclass(frozen=True, slots=True)
class Told:
    """A SchemaProof without its migration; `between`: what happened since the proof before it (as a rule, nothing)."""

    between: Change
    change: Change
    keys: frozenset[Key]
    mode: Mode
    outcome: Attempt
    source: str
    steps: tuple[InverseStep, ...]
    handwritten: Attempt | None
    notes: tuple[str, ...]


def tell(start: Catalog, proofs: Iterable[SchemaProof]) -> Iterator[Change | Told]:
    """First the catalog they start from, then each proof."""
    yield Change.between(Catalog(), start)
    last = start
    for p in proofs:
        d = p.delta
        change = Change.between(d.before, d.after, d.keys)
        yield Told(Change.between(last, d.before), change, d.keys, p.mode, p.outcome, p.source, p.steps, p.handwritten, p.notes)
        last = d.after


def hear(messages: Iterable[Change | Told], migrations: Sequence[Migration]) -> Iterator[SchemaProof]:
    """The proofs again, of the first of these migrations."""
    last, number = Catalog(), 0
    for told in messages:
        if isinstance(told, Change):
            last = told.after(last)
            continue
        before = told.between.after(last)
        last = told.change.after(before)
        delta = Delta(before, last, told.keys)
        yield SchemaProof(migrations[number], told.mode, delta, told.outcome, told.source, told.steps, told.handwritten, told.notes)
        number += 1
