"""The statements of a guarded migration as data: segments, in order, with what undoes each and what it keeps of rows."""

from dataclasses import dataclass, field

from unmigrate.catalog.model import Key
from unmigrate.guard.carried import Carried
from unmigrate.guard.filling import Conversion
from unmigrate.guard.images import Image
from unmigrate.guard.retyping import Using
from unmigrate.guard.reused import Followed
from unmigrate.inverse.model import InverseStep, Loss


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of statements, or one that changes rows. inverse: what undoes its schema changes; images: of the rows it changes.

    conversions: columns whose old type stays parked beside the new one. reads: tables that decided which rows the statement changed, and
    how; none where it changes the schema alone; None where nobody can tell. retyped: by which expressions it converts columns with images.
    """

    statements: tuple[str, ...]
    inverse: tuple[InverseStep, ...]
    images: tuple[Image, ...] = ()
    conversions: tuple[Conversion, ...] = ()
    reads: frozenset[Key] | None = frozenset()
    retyped: dict[Key, Using] = field(default_factory=dict)

    @property
    def structural(self) -> bool:
        """Its images hold what goes with the shape of tables; no row was written."""
        return bool(self.images) and self.reads == frozenset()


@dataclass(slots=True)
class Program:
    """The guarded way up. unkept: what is lost all the same. writes: tables that it writes knowingly. copied: columns made from others.

    followed: the keys of its images, by these statements (following) at its end. carried: rows with something parked.
    """

    segments: list[Segment] = field(default_factory=list)
    unkept: list[Loss] = field(default_factory=list)
    writes: set[Key] = field(default_factory=set)
    copied: list[Conversion] = field(default_factory=list)
    followed: tuple[Followed, ...] = ()
    following: tuple[str, ...] = ()
    carried: tuple[Carried, ...] = ()

    @property
    def conversions(self) -> list[Conversion]:
        """Columns made from others: by a change of type, or by an UPDATE."""
        return [*(c for segment in self.segments for c in segment.conversions), *self.copied]

    @property
    def statements(self) -> list[str]:
        return [sql for segment in self.segments for sql in segment.statements]
