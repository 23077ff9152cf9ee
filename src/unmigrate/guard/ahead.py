"""Guards for migrations that somebody else runs, from what was proved on scratch and from how the target's tables are numbered."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from unmigrate.catalog.parked import plain
from unmigrate.guard import logged
from unmigrate.guard.build import Guarded
from unmigrate.guard.images import Image
from unmigrate.guard.logged import Marker
from unmigrate.park.armed import Guard, Logged
from unmigrate.park.vault import guard_schemas
from unmigrate.prisma.ledger import TABLE
from unmigrate.prisma.url import quoted

_SILENCED = re.compile(r"\b(DISABLE|ENABLE)\s+((ALWAYS|REPLICA)\s+)?TRIGGER\b", re.IGNORECASE)
_OURS = re.compile(r"^trigger .*\b_unmigrate_[0-9a-f]+_")
_NUMBERS = "select attnum::int, atttypid::int8 from pg_attribute where attrelid = to_regclass(%s) and attname = %s and not attisdropped"


def refusals(guarded: Sequence[Guarded]) -> Iterator[tuple[str, str]]:
    """(migration, why) of what cannot be kept while somebody else runs it."""
    for one in guarded:
        name = one.migration.name
        if one.back is None:
            yield name, one.why or "no way back was found"
            continue
        for loss in one.losses:
            yield name, f"{loss.object}: {loss.reason}"
        if one.images and _SILENCED.search(one.migration.sql):
            yield name, "it switches triggers off, ours among them"
        for image in one.images:
            if why := _unfollowed(image):
                yield name, f"{image.table}: {why}"
    yield from _entangled(guarded)


def _unfollowed(image: Image) -> str:
    if not image.key:
        return "rows of a table without a key cannot be told apart"
    if image.table_after is not None and logged.copied(image) and logged.marking(image) is None:
        return "nothing tells its old shape from the new one: no column goes, or gets another type or name"
    return ""


def _entangled(guarded: Sequence[Guarded]) -> Iterator[tuple[str, str]]:
    """A table followed for one migration must not change its shape in another that runs along with it."""
    for one in guarded:
        concerned = {label for image in one.images for label in _labels(image)}
        for other in guarded:
            changed = {} if other is one else {**other.up.before, **other.up.after}
            for label in sorted(concerned & changed.keys()):
                yield one.migration.name, f"{label} is changed by {other.migration.name} too, which is pending along with it"


def _labels(image: Image) -> Iterator[str]:
    for table in {image.table, image.table_after} - {None}:
        yield f"table {table}"
        for column in image.columns:
            for label in {column.before, column.after} - {None}:
                yield f"column {table}.{label}"


def guards(connection: psycopg.Connection[Any], guarded: Sequence[Guarded], schema: str) -> list[Guard]:
    """Ready to be armed on this target. schema: of its ledger. Call it where there are no `refusals`."""
    found = []
    for one in guarded:
        assert one.back is not None
        ways = tuple(way.to_json() for way in (one.back, one.again) if way is not None)
        vault_schema = guard_schemas(one.back.guard)[0]
        ledger = f"{quoted(schema)}.{quoted(TABLE)}"
        tables = tuple(_logged(connection, image) for image in one.images)
        first = tuple(logged.session(vault_schema, ledger, one.migration.name)) if tables else ()
        last = (f"DROP FUNCTION IF EXISTS {vault_schema}.who()",) if tables else ()
        found.append(
            Guard(
                migration=one.migration.name, checksum=one.migration.checksum, id=one.back.guard, schema=schema,
                first=(*first, *one.marks), tables=tables,
                following=one.following, last=last, before=_own(one.up.before), after=_own(one.up.after), ways=ways,
            )
        )  # fmt: skip
    return found


def _own(fingerprints: dict[str, str]) -> dict[str, str]:
    """Without what is put on the tables when the guard is finished."""
    return {label: value for label, value in fingerprints.items() if not _OURS.search(label)}


def _logged(connection: psycopg.Connection[Any], image: Image) -> Logged:
    before = tuple(logged.arm(image, _marker(connection, image))), tuple(logged.copy(image)), logged.unsure(image)
    after = tuple(logged.empty(image)), tuple(logged.fill(image)), tuple(logged.settle(image)), tuple(logged.drop(image))
    return Logged(image.table, image.name, *before, *after, 0 if image.table_after is None else logged.TRIGGERS)


def _marker(connection: psycopg.Connection[Any], image: Image) -> Marker | None:
    column = logged.marking(image) if logged.copied(image) and image.table_after is not None else None
    if column is None:
        return None
    row = connection.execute(_NUMBERS, [image.table, plain(str(column.before))]).fetchone()
    return Marker(column, int(row[0]), int(row[1])) if row else None
