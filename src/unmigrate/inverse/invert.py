"""From what a migration did (a Delta by identity) to the statements that undo it.

Inverses run in the catalog they were observed in, so every name is known. The order is fixed: take away what stands in the
way, drop what was added, rename back, re-create from the bottom up, change columns, drop the types nobody uses any more,
put back what was taken away. Kinds say how; this module says in what order.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from unmigrate.catalog.kinds import KINDS, other, routine
from unmigrate.catalog.kinds.sequence import owned_by
from unmigrate.catalog.model import Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.catalog.sqltext import grant_sql
from unmigrate.inverse import apart, retype, waiting
from unmigrate.inverse.counting import going_on
from unmigrate.inverse.dependents import Dependents
from unmigrate.inverse.model import InverseStep
from unmigrate.inverse.work import REBUILDABLE, Work, undoing

EARLY = REBUILDABLE | {"default privileges", "extension dependency"}
LATE_TYPES = frozenset({"sequence", "routine", "enum", "composite", "domain", "extension", "schema", "other type", "other relation"})
OTHERS = frozenset(kind.name for kind in other.KINDS) - {"other type"}
# Letter of default privileges, and the word for grants.
GRANTED = {
    "table": ("r", "TABLE"), "view": ("r", "TABLE"), "materialized view": ("r", "TABLE"), "sequence": ("S", "SEQUENCE"),
    "routine": ("f", "FUNCTION"), "enum": ("T", "TYPE"), "domain": ("T", "TYPE"), "composite": ("T", "TYPE"),
}  # fmt: skip
RELATIONS = ("table", "view", "materialized view", "index", "sequence", "composite", "other relation")
NAMING = ("label", "schema", "table", "owner")


def invert(delta: Delta, dependents: Dependents, compiles: Callable[[str], bool]) -> list[InverseStep]:
    """Statements that lead from delta.after back to delta.before. Raises CannotInvert with the reason."""
    work, converted = undoing(delta, dependents)
    return [*_Builder(delta, work, converted, compiles, apart.edges(work.drop, dependents)).steps(), *going_on(delta)]


class _Builder:
    """Puts the work into order."""

    def __init__(
        self,
        delta: Delta,
        work: Work,
        converted: dict[Key, retype.Conversion],
        compiles: Callable[[str], bool],
        first: dict[Key, set[Key]],
    ) -> None:
        """first: what must be dropped before what, besides what the kinds tell."""
        self._before, self._after, self._work = delta.before, delta.after, work
        self._first = first
        self._converted, self._compiles = converted, compiles
        self._out: list[InverseStep] = []
        # tables that go, or lose a key: foreign keys to them must be gone before
        self._torn = {
            o.name if o.kind == "table" else o.facts.get("table") or o.facts.get("owner")
            for o in work.drop.values()
            if o.kind in ("table", "index") or o.facts.get("contype") in ("p", "u")
        }

    def steps(self) -> list[InverseStep]:
        work = self._work
        created = sorted(work.create.values(), key=lambda o: (KINDS[o.kind].rank, o.key.oid, o.key.sub))
        twins = {(o.kind, o.name) for o in created}
        phases = {o.key: self._phase(o, twins) for o in work.drop.values()}
        apart.pull(phases, self._first, work.drop)
        drops = [[o for o in work.drop.values() if phases[o.key] == phase] for phase in range(5)]
        self._disown()
        for objects in drops[:3]:
            self._drop(objects)
        self._rename()
        altered = [wanted for _, wanted, _ in work.alter]
        uses = waiting.uses(created, altered, self._before)
        late = waiting.late(created, altered, uses, self._before)
        soon = [o for o in created if o.key not in late]
        for kinds in (("schema", "extension"), ("enum", "composite", "domain", "other type")):
            self._create(sorted((o for o in soon if o.kind in kinds), key=lambda o: o.key.oid))
        self._retype()
        for kind in ("sequence", "routine", "table"):
            self._create(apart.sort([o for o in soon if o.kind == kind], uses))
        self._create(o for o in soon if self._is_added(o))
        self._alter(entry for entry in work.alter if entry[0].key not in late)
        parts = waiting.parts(created, late, self._before)
        self._owned([*(o for o in created if o.key not in parts), *(wanted for _, wanted, changed in work.alter if "owned_by" in changed)])
        for objects in drops[3:]:
            self._drop(objects)
        self._keys(o for o in created if o.key not in parts)
        self._late(late, uses)
        self._owned(parts.values())
        self._keys(parts.values())
        self._create(o for o in created if o.kind == "index" and o.facts["table_kind"] == "m")
        rest = {"rule", "trigger", "policy", "publication", "event trigger", "default privileges", "setting", "extension dependency"}
        self._create(o for o in created if o.kind in rest)
        self._create(o for o in created if o.kind in OTHERS)
        return self._out

    def _phase(self, o: Object, twins: set[tuple[str, str]]) -> int:
        """When it is dropped: 0 at once, 1 columns, 2 tables, 3 when nobody uses it any more, 4 whatever else there is."""
        if o.kind in EARLY and o.kind != "routine":
            return 0
        if o.kind in ("routine", "sequence", "column", "domain", "composite") and (o.kind, o.name) in twins:
            return 0
        return {"column": 1, "table": 2}.get(o.kind, 3 if o.kind in LATE_TYPES else 4)

    def _add(self, o: Object, statements: Iterable[str]) -> None:
        self._out += [InverseStep(sql, o.kind, o.name, frozenset({o.key})) for sql in statements]

    def _drop(self, objects: Iterable[Object]) -> None:
        rank = {"constraint": 100}
        listed = sorted(objects, key=lambda o: (-(rank.get(o.kind, KINDS[o.kind].rank)), _fk_first(o), -o.key.oid, -o.key.sub))
        for o in apart.sort(listed, self._first):
            if not self._falls_with_parent(o) and not (_follows(o) and self._work.drop.keys() & self._ancestors(o)):
                self._add(o, KINDS[o.kind].drop(o))

    def _ancestors(self, column: Object) -> set[Key]:
        """Columns of other tables that a column may be inherited from: those of its name."""
        label, own = column.facts["label"], column.key.oid
        return {o.key for o in self._after.of_kind("column").values() if o.facts["label"] == label and o.key.oid != own}

    def _falls_with_parent(self, o: Object) -> bool:
        parent = o.parent
        if parent is None:
            return False
        gone = parent in self._work.drop or Key(parent.catalog, parent.oid) in self._work.drop
        if gone and o.facts.get("references") not in (None, o.facts.get("owner")):
            return o.facts["references"] not in self._torn
        return gone

    def _rename(self) -> None:
        """Names first, so that everything after speaks the wanted names; a name still taken is waited for, or gives way."""
        pending = [(now, wanted) for now, wanted, _ in self._work.alter if _own_name(now) != _own_name(wanted) and not _follows(now)]
        pending.sort(key=lambda pair: (KINDS[pair[0].kind].rank, pair[0].key))
        while pending:
            taken = {(_namespace(now), _own_name(now)) for now, _ in pending}
            free = [(n, w) for n, w in pending if (_namespace(n), _own_name(w)) not in taken]
            if not free:  # names were exchanged
                pending[0] = (self._aside(*pending[0]), pending[0][1])
            for now, wanted in free:
                self._rename_one(now, wanted)
            pending = [pair for pair in pending if pair not in free]

    def _aside(self, now: Object, wanted: Object) -> Object:
        """What has a name that another wants, under one that nobody has."""
        label = f"unmigrate_aside_{len(self._out)}"
        aside = replace(now, name=now.name.removesuffix(str(now.facts["label"])) + label, facts={**now.facts, "label": label})
        self._add(wanted, KINDS[now.kind].alter(now, aside, frozenset()) or [])
        return aside

    def _rename_one(self, now: Object, wanted: Object) -> None:
        parent = self._before.get(wanted.parent)
        if "schema" in now.raw and now.raw["schema"] == wanted.raw["schema"]:  # it bears its old name again
            now = replace(now, facts={**now.facts, "schema": wanted.facts["schema"]})
        if parent is not None:
            now = replace(now, facts={**now.facts, **{f: parent.name for f in ("table", "owner") if f in now.facts and wanted.parent}})
        self._add(wanted, KINDS[now.kind].alter(now, _named_like(wanted, now), frozenset()) or [])

    def _create(self, objects: Iterable[Object]) -> None:
        for o in objects:
            owner = [_owner(o)] if o.facts.get("owner_role") else []
            self._add(o, [*KINDS[o.kind].create(o, self._before), *self._undo_default_grants(o), *owner])
            if o.kind == "domain":
                for check in self._work.create.values():
                    if check.kind == "constraint" and check.parent == o.key:
                        self._add(check, KINDS["constraint"].create(check, self._before))

    def _undo_default_grants(self, o: Object) -> list[str]:
        """Default privileges grant what the object did not have; what it had is granted with it."""
        if o.kind not in GRANTED:
            return []
        letter, word = GRANTED[o.kind]
        in_force = [p for p in self._after.of_kind("default privileges").values() if p.key not in self._work.drop]
        given = [
            p.facts["acl"] or {}
            for p in in_force
            if p.facts["objects"] == letter and not p.facts["role"] and p.facts["schema"] in (None, o.facts["schema"])
        ]
        own = o.facts["acl"] or {}
        added = [g for acl in given for g in acl.get("added", []) if g not in own.get("added", [])]
        removed = [g for acl in given for g in acl.get("removed", []) if g not in own.get("removed", [])]
        return grant_sql(f"{routine.what(o) if o.kind == 'routine' else f'{word} {o.name}'}", {"added": added, "removed": removed}, None)

    def _retype(self) -> None:
        for now, wanted in self._work.retype:
            for sql in retype.swap(now, wanted, self._converted, self._before):
                self._out.append(InverseStep(sql, "enum", wanted.name, frozenset({now.key, wanted.key})))

    def _alter(self, entries: Iterable[tuple[Object, Object, frozenset[str]]]) -> None:
        order = sorted(entries, key=lambda entry: (not _lets_go(entry), KINDS[entry[0].kind].rank, entry[0].key))
        for now, wanted, changed in order:
            if now.key in self._converted:
                changed -= {"type", "default"}
            if _follows(now):
                changed -= {"type", "collation", "generated"}
            renamed = _named_like(wanted, now)
            if now.kind == "column" and changed & {"type"}:
                self._add(wanted, self._convert(renamed, wanted, changed))
                continue
            if "owner_role" in changed and not wanted.facts.get("owned_by"):  # what the next owner was granted goes up in that
                self._add(wanted, [_owner(wanted)])
            self._add(wanted, KINDS[now.kind].alter(renamed, wanted, changed) or [])

    def _convert(self, now: Object, wanted: Object, changed: frozenset[str]) -> list[str]:
        returning = {o.name for o in self._work.create.values() if o.kind == "enum"}
        spoken = {"text", "character varying", *(o.name for o in self._after.of_kind("enum").values())}
        statements = KINDS["column"].alter(now, wanted, changed) or []
        return [retype.cast(sql, now, wanted, returning, spoken, self._compiles) for sql in statements]

    def _owned(self, objects: Iterable[Object]) -> None:
        for o in objects:
            if o.kind == "sequence" and o.facts["owned_by"]:
                self._add(o, [owned_by(o)])

    def _disown(self) -> None:
        """Sequences that had no owner would go with the one they have now."""
        for now, wanted, changed in self._work.alter:
            if now.kind == "sequence" and "owned_by" in changed and not wanted.facts["owned_by"]:
                self._add(wanted, [f"ALTER SEQUENCE {now.name} OWNED BY NONE"])

    def _keys(self, created: Iterable[Object]) -> None:
        objects = list(created)
        self._create(o for o in objects if o.kind == "index" and o.facts["table_kind"] != "m")
        constraints = [o for o in objects if o.kind == "constraint" and (o.facts["of"] == "TABLE" or o.parent not in self._work.create)]
        self._create(sorted(constraints, key=lambda o: o.facts["contype"] == "f"))

    def _late(self, late: Iterable[Key], uses: Mapping[Key, set[Key]]) -> None:
        entries = {now.key: (now, wanted, changed) for now, wanted, changed in self._work.alter}
        objects = [self._before.objects[key] for key in sorted(late, key=lambda key: (key.oid, key.sub))]
        for o in apart.sort(objects, uses):
            if o.key in entries:
                self._alter([entries[o.key]])
            elif o.kind != "column" or self._is_added(o):
                self._create([o])

    def _is_added(self, o: Object) -> bool:
        """Whether it is a column that its table does not bring along."""
        return o.kind == "column" and o.parent not in self._work.create and not _follows(o)


def _owner(o: Object) -> str:
    word = {"enum": "TYPE", "composite": "TYPE"}.get(o.kind, o.kind.upper())
    return f"ALTER {routine.what(o) if o.kind == 'routine' else f'{word} {o.name}'} OWNER TO {o.facts['owner_role'] or 'CURRENT_USER'}"


def _follows(o: Object) -> bool:
    """A column that is its parent table's: what happens to it happens there."""
    return o.kind == "column" and bool(o.facts["inherited"])


def _lets_go(entry: tuple[Object, Object, frozenset[str]]) -> bool:
    """Gives up what another may become only after that: what a table is clustered on, the name of a NOT NULL."""
    _, wanted, changed = entry
    return any(fact in changed and not wanted.facts[fact] for fact in ("clustered", "notnull"))


def _own_name(o: Object) -> tuple[str, str]:
    return str(o.facts.get("schema", "")), str(o.facts.get("label", o.name))


def _namespace(o: Object) -> tuple[str, Key | None]:
    """Where its name must be the only one of its kind, but for the schema."""
    return ("relation", None) if o.kind in RELATIONS else (o.kind, o.parent)


def _named_like(wanted: Object, now: Object) -> Object:
    """`now` with only the name of `wanted`."""
    return replace(now, name=wanted.name, facts={**now.facts, **{f: wanted.facts[f] for f in NAMING if f in wanted.facts}})


def _fk_first(o: Object) -> int:
    return 0 if o.facts.get("contype") == "f" else 1
