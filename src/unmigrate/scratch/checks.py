"""Values that satisfy CHECK constraints, partition bounds and domain checks, found by asking the server.

For each checked column a pool of candidates is mined from the checks' own text (literals, numbers and their neighbours,
lengths, regular expressions) besides the values of its type. Combinations are then judged in bulk by one SELECT that
computes every check for every candidate row; where none fits, the best ones are improved column by column. Nothing is
inserted, and what cannot be judged is left to the INSERT.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg

from unmigrate.scratch.patterns import like, matching
from unmigrate.scratch.shape import Check, Column, Rows, Table, TypeInfo, literal, quoted
from unmigrate.scratch.values import Style, Values, quote_member, seed_of, short_text

Assignment = dict[int, str | None]  # column number -> literal; None is NULL
Runner = Callable[[str], Rows]  # a query that may fail without harm to the transaction

ENOUGH = 6  # combinations that are looked for before the search stops
LARGEST_PRODUCT = 1200
SAMPLE = 500
ROUNDS = 6

_TEXTS = ("text", "varchar", "bpchar", "citext", "name", "char")
_WHOLE = {"int2": 2**15, "int4": 2**31, "int8": 2**63, "oid": 2**32}
_FRACTIONS = ("numeric", "float4", "float8", "money")
_MOMENTS = ("date", "timestamp", "timestamptz")
_STRING = re.compile(r"'((?:[^']|'')*)'(?:::\"?([A-Za-z_][\w. ]*))?")
_NUMBER = re.compile(r"(?<![\w.\"'-])-?\d+(?:\.\d+)?(?![\w.\"])")
_REGEX = re.compile(r"!?~\*? \(?'((?:[^']|'')*)'")
_LIKE = re.compile(r"(?:~~\*?|similar_to_escape\(|like_escape\() ?\(?'((?:[^']|'')*)'")
_LINK = re.compile(r"""->> '((?:[^']|'')+)'::text\)+ = \(*("(?:[^"]|"")+"|\w+)""")
_LINKED = "\0linked"  # stands for a document that repeats other columns of its row
_MEMBERS: tuple[object, ...] = ("x", 1, [], {}, True)
_LIST = re.compile(r"^\{(.*)\}$", re.DOTALL)


@dataclass(slots=True)
class Mined:
    """What a check's text offers."""

    strings: list[tuple[str, str]] = field(default_factory=list)  # text, type it is cast to
    numbers: list[str] = field(default_factory=list)
    matches: list[str] = field(default_factory=list)


def mine(expressions: Iterable[str]) -> Mined:
    found = Mined()
    for expression in expressions:
        for text, kind in _STRING.findall(expression):
            text = text.replace("''", "'")
            if re.fullmatch(r"-?\d+(\.\d+)?", text):
                found.numbers.append(text)
            listed = _LIST.match(text)
            for part in re.findall(r'"((?:[^"\\]|\\.)*)"|([^,"{}]+)', listed.group(1)) if listed else ():
                found.strings.append((part[0] or part[1], "text"))
            found.strings.append((text, kind.strip()))
        found.numbers += _NUMBER.findall(_STRING.sub(" ", expression))
        for text in _REGEX.findall(expression):
            found.matches += matching(text.replace("''", "'"))
        found.matches += [like(text.replace("''", "'"), n) for text in _LIKE.findall(expression) for n in range(4)]
    found.numbers = list(dict.fromkeys(found.numbers))[:24]
    return found


def mentions(expression: str, name: str) -> bool:
    return bool(re.search(rf'(?<![\w"]){re.escape(name)}(?![\w"])|"{re.escape(name)}"', expression))


def pool(values: Values, oid: int, typmod: int, seed: int, mined: Mined, depth: int = 0) -> list[str]:
    """Candidates for a column of this type, the ordinary ones first; without repetition."""
    info = values.types[oid]
    if not values.known(oid):
        return []
    if info.kind == "d" and oid not in values.pools:
        return pool(values, info.base, info.base_typmod, seed, mined, depth)
    if info.kind == "e":
        return list(info.labels[:40])
    own = [values.text(oid, typmod, seed, n) for n in range(4)]
    own += [values.text(oid, typmod, seed, n, Style.EDGE) for n in range(2)]
    if info.name in _TEXTS:
        own += _texts(mined, typmod)
    elif info.name in _WHOLE:
        limit = _WHOLE[info.name]
        own += [text for text in _numbers(mined) if "." not in text and -limit <= int(text) < limit]
    elif info.name in _FRACTIONS:
        own += [*_numbers(mined), "0.5"]
    elif info.name in ("json", "jsonb"):
        own += _documents(mined)
    elif info.name in _MOMENTS:
        own += ["2000-01-01", "2024-06-15", "2999-12-31"]
        own += [text for text, kind in mined.strings if kind.startswith(("date", "timestamp"))]
    elif info.name == "bytea":
        own += ["\\x" + "ab" * int(number) for number in mined.numbers if number.isdigit() and int(number) <= 256]
    elif info.category == "A" and info.element and not depth:
        own += _arrays(values, info, typmod, seed, mined)
    own += [text for text, kind in mined.strings if kind.strip('"') in (info.name, f"{info.name}[]")]
    return list(dict.fromkeys(own))


def _texts(mined: Mined, typmod: int) -> list[str]:
    found = [
        *mined.matches,
        *(text for text, _ in mined.strings),
        "",
        "a",
        "A",
        "1",
        "x@example.org",
        "https://example.org/a",
    ]
    for number in mined.numbers:
        if number.isdigit() and int(number) <= 400:
            for length in {int(number), max(0, int(number) - 1), int(number) + 1}:
                text = short_text(length, 7, 5)
                found += [text, text.upper(), "7" * length] + [short_text(length, 7, n) for n in range(1, 4)]
    found += mined.numbers
    limit = typmod - 4 if typmod >= 4 else 10**6
    return [text for text in found if len(text) <= limit]


def _numbers(mined: Mined) -> list[str]:
    found: list[str] = []
    for number in mined.numbers:
        if "." in number:
            found += [number, str(float(number) + 0.5), str(float(number) - 0.5)]
        else:
            found += [number, str(int(number) + 1), str(int(number) - 1), str(int(number) // 2), str(int(number) // 2 + 1)]
    return ["1", "0", "2", "3", "5", *found, "-1", "10", "100"]


def _documents(mined: Mined) -> list[str]:
    words = list(dict.fromkeys(text for text, _ in mined.strings))[:12]
    found: list[object] = [{}, [], "text", 1, True, [{"id": 1}], None]
    found += [dict.fromkeys(words, value) for value in _MEMBERS]
    found += [{first: second} for first, second in itertools.permutations(words[:5], 2)] + [*words[:6], words]
    documents = [json.dumps(document) for document in found]
    for text, kind in mined.strings:
        if kind.startswith("json"):
            documents.append(text)
    return documents


def _arrays(values: Values, info: TypeInfo, typmod: int, seed: int, mined: Mined) -> list[str]:
    members = pool(values, info.element, typmod, seed, mined, depth=1)[:24]
    if not members:
        return ["{}"]
    delimiter = values.types[info.element].delimiter
    sizes = {0, 1, 2, 3} | {int(n) + more for n in mined.numbers if n.isdigit() and int(n) <= 50 for more in (0, 1)}
    given = [quote_member(text) for text, _ in mined.strings if text in members]
    members = [quote_member(member) for member in members]
    lists = [[members[i % len(members)] for i in range(size)] for size in sorted(sizes)]
    lists += [[given[i % len(given)] for i in range(size)] for size in sorted(sizes) if given and size]
    return ["{" + delimiter.join(some) + "}" for some in [*lists, *([member] for member in members)]]


def _texts_array(values: Iterable[str | None]) -> str:
    return f"ARRAY[{', '.join(map(literal, values))}]::text[]"


def domain_pools(run: Runner, values: Values) -> None:
    """Give every domain with checks the values that it accepts, inner domains first."""
    waiting = [info for info in values.types.values() if info.kind == "d" and info.checks]
    for info in sorted(waiting, key=lambda info: info.base in {other.oid for other in waiting}):
        candidates = pool(values, info.base, info.base_typmod, seed_of(info.name), mine(info.checks))
        # VALUE is an ordinary column name outside of a domain, so the checks can be asked as they are.
        tests = " AND ".join(f"({check}) IS NOT FALSE" for check in info.checks)
        sql = (
            f"SELECT u.x FROM unnest({_texts_array(candidates)}) WITH ORDINALITY u(x, o), "
            f"LATERAL (SELECT u.x::{info.base_text} AS value OFFSET 0) s WHERE {tests} ORDER BY u.o"
        )
        try:
            values.pools[info.oid] = [row[0] for row in run(sql)] or candidates or ["1"]
        except psycopg.Error:
            values.pools[info.oid] = candidates or ["1"]


@dataclass(slots=True)
class Solutions:
    """For each group of columns that checks tie together: the assignments known to pass, preferred first."""

    groups: list[tuple[tuple[int, ...], list[Assignment]]] = field(default_factory=list)

    def columns(self) -> set[int]:
        return {number for columns, _ in self.groups for number in columns}

    def apply(self, row: Assignment, n: int, shift: int = 0) -> None:
        """Give the row values that pass; what passes already is left, unless shifted on purpose."""
        for columns, passing in self.groups:
            current = {number: row.get(number) for number in columns}
            if passing and (shift or current not in passing):
                row.update(passing[(n + shift) % len(passing)])


class Search:
    """The search over one table."""

    def __init__(self, run: Runner, table: Table, values: Values, fixed: Mapping[int, Sequence[str | None]]) -> None:
        """fixed: the only values some columns may take (the keys of their parents, for foreign keys)."""
        self.run, self.table, self.values = run, table, values
        self.columns = {column.number: column for column in table.columns}
        self.checks = [*table.checks, *_bounds(table)]
        used = {number: self._involved(check) for number, check in enumerate(self.checks)}
        self.groups = _groups(used)
        self.links: dict[tuple[int, str], int] = {}  # (document column, member) -> column whose value it must repeat
        self.pools: dict[int, list[str | None]] = {}
        for number in {number for group in used.values() for number in group}:
            self.pools[number] = self._pool(self.columns[number], used, fixed)
        self.random = random.Random(seed_of(table.head.schema, table.name))

    def _involved(self, check: Check) -> tuple[int, ...]:
        """The columns one may choose for this check: those it names, and those its generated columns are made of."""
        bound = not check.columns
        named = [
            column for column in self.table.columns if column.number in check.columns or (bound and mentions(check.expression, column.name))
        ]
        sources = [c for g in named if g.generated for c in self.table.columns if mentions(g.default or "", c.name)]
        return tuple(sorted({c.number for c in [*named, *sources] if not c.generated}))

    def _pool(self, column: Column, used: Mapping[int, tuple[int, ...]], fixed: Mapping[int, Sequence[str | None]]) -> list[str | None]:
        if column.number in fixed:
            return list(fixed[column.number]) or [None]
        texts = [self.checks[number].expression for number, columns in used.items() if column.number in columns]
        if column.default:
            texts.append(column.default)
        seed = seed_of(self.table.name, column.name)
        found: list[str | None] = [*pool(self.values, column.type, column.typmod, seed, mine(texts))]
        names = {other.name: other.number for other in self.table.columns}
        links = [(key, name.strip('"')) for text in texts for key, name in _LINK.findall(text)]
        self.links.update({(column.number, key): names[name] for key, name in links if name in names})
        if any(number == column.number for number, _ in self.links):
            found.insert(0, _LINKED)
        if not column.not_null:
            found.append(None)
        return found or [None]

    def solve(self, planned: Sequence[Assignment], thorough: bool = False) -> Solutions:
        """Assignments that pass; rows as planned come first where they do.

        Columns whose planned values all pass are not searched any further, unless it is to be thorough.
        """
        if not self.groups:
            return Solutions()
        passing: list[list[Assignment]] = [[] for _ in self.groups]
        trials = [[{number: row.get(number) for number in columns} for row in planned] for columns, _ in self.groups]
        for round_number in range(ROUNDS + 1):
            judged = self._judge(trials)
            if judged is None:
                return Solutions()
            for index, (columns, checks) in enumerate(self.groups):
                scored = [(trial, verdict) for trial, verdict in zip(trials[index], judged, strict=False)]
                before = len(passing[index])
                for trial, verdict in scored:
                    if all(verdict[check] for check in checks) and trial not in passing[index]:
                        passing[index].append(trial)
                found = len(passing[index])
                if round_number == 0:
                    all_pass = all(verdict[check] for _, verdict in scored for check in checks)
                    trials[index] = [] if all_pass and not thorough else self._first_trials(columns, planned)
                elif found >= ENOUGH or (before and found == before) or round_number == ROUNDS:
                    trials[index] = []
                elif trials[index]:
                    trials[index] = self._next_trials(columns, checks, scored)
            if not any(trials):
                break
        return Solutions([(columns, found) for (columns, _), found in zip(self.groups, passing, strict=True)])

    def _first_trials(self, columns: tuple[int, ...], planned: Sequence[Assignment]) -> list[Assignment]:
        trials = [{number: row.get(number) for number in columns} for row in planned]
        trials += [self._linked({**trial, number: _LINKED}) for trial in trials for number in columns if self._links(number)]
        pools = [self.pools[number] for number in columns]
        size = 1
        for values in pools:
            size *= len(values)
        if size <= LARGEST_PRODUCT:
            chosen = itertools.product(*pools)
            return trials + [self._linked(dict(zip(columns, choice, strict=True))) for choice in chosen]
        alone = [{number: value if number == one else None for number, value in trials[0].items()} for one in columns]
        sampled = [self._linked({number: self.random.choice(self.pools[number]) for number in columns}) for _ in range(SAMPLE)]
        return trials + [trial for trial in alone if self._allowed(trial)] + sampled

    def _links(self, number: int) -> bool:
        return any(document == number for document, _ in self.links)

    def _linked(self, trial: Assignment) -> Assignment:
        """The trial with its documents written out."""
        for number in [number for number, value in trial.items() if value == _LINKED]:
            members = {key: trial.get(other) for (document, key), other in self.links.items() if document == number}
            trial[number] = json.dumps(members)
        return trial

    def _allowed(self, trial: Assignment) -> bool:
        return all(value is not None or not self.columns[number].not_null for number, value in trial.items())

    def _next_trials(
        self, columns: tuple[int, ...], checks: tuple[int, ...], scored: list[tuple[Assignment, Sequence[bool]]]
    ) -> list[Assignment]:
        """Neighbours of the best trials: one column changed, of those whose check failed (any, if none did)."""
        scored.sort(key=lambda pair: -sum(bool(pair[1][check]) for check in checks))
        found: list[Assignment] = []
        for trial, verdict in scored[:6]:
            failed = {number for check in checks if not verdict[check] for number in self._involved(self.checks[check])}
            for number in sorted(failed) or columns:
                options = self.pools[number]
                for value in self.random.sample(options, min(len(options), 16)):
                    changed = self._linked({**trial, number: value})
                    if changed not in found:
                        found.append(changed)
        return found[: 2 * SAMPLE]

    def _judge(self, trials: Sequence[Sequence[Assignment]]) -> Sequence[Sequence[bool]] | None:
        """Every check for every trial row; a check that cannot be computed counts as passed."""
        height = max(map(len, trials))
        numbers = sorted(number for columns, _ in self.groups for number in columns)
        rows: list[Assignment] = [{} for _ in range(height)]
        for group in trials:
            for row, trial in zip(rows, group, strict=False):
                row.update(trial)
        source = self._source(rows, numbers)
        tests = [f"({check.expression}) IS NOT FALSE" for check in self.checks]
        try:
            found = self.run(f"SELECT ARRAY[{', '.join(tests)}] FROM ({source}) s ORDER BY s.unmigrate_o")
            return [row[0] for row in found]
        except psycopg.Error:
            pass
        verdicts: list[list[bool]] = [[] for _ in range(height)]
        understood = 0
        for test in tests:
            try:
                column = [row[0] for row in self.run(f"SELECT {test} FROM ({source}) s ORDER BY s.unmigrate_o")]
                understood += 1
            except psycopg.Error:
                column = [True] * height
            for verdict, value in zip(verdicts, column, strict=True):
                verdict.append(value)
        return verdicts if understood else None

    def _source(self, rows: Sequence[Assignment], numbers: Sequence[int]) -> str:
        """A subquery that looks like the table, as far as the checks can see."""
        arrays = ", ".join(_texts_array(row.get(number) for row in rows) for number in numbers)
        names = ", ".join(f"c{number}" for number in numbers)
        columns = [self.columns[number] for number in numbers]
        cast = ", ".join(f"u.c{c.number}::{c.type_text} AS {quoted(c.name)}" for c in columns)
        source = f"SELECT u.o AS unmigrate_o, {cast} FROM unnest({arrays}) WITH ORDINALITY u({names}, o) OFFSET 0"
        computed = [c for c in self.table.columns if self._computable(c, numbers)]
        if not computed:
            return source
        generated = "".join(f", ({column.default}) AS {quoted(column.name)}" for column in computed)
        return f"SELECT s.*{generated} FROM ({source}) s OFFSET 0"

    def _computable(self, column: Column, numbers: Sequence[int]) -> bool:
        """Whether a generated column is named by a check and made of columns that are chosen here."""
        if not column.generated or not any(mentions(check.expression, column.name) for check in self.checks):
            return False
        sources = (c for c in self.table.columns if c is not column and mentions(column.default or "", c.name))
        return all(c.number in numbers for c in sources)


def _bounds(table: Table) -> list[Check]:
    """Partition bounds as checks; of a partitioned table one of its partitions' must hold."""
    if table.bound:
        return [Check("", (), table.bound)]
    return [Check("", (), " OR ".join(f"({bound})" for bound in table.leaf_bounds))] if table.leaf_bounds else []


def _groups(used: Mapping[int, tuple[int, ...]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(columns, checks) of each set of checks that share columns, directly or not."""
    groups: list[tuple[set[int], set[int]]] = []
    for check, columns in used.items():
        if not columns:
            continue
        touching = [group for group in groups if group[0] & set(columns)]
        groups = [group for group in groups if group not in touching]
        groups.append((set(columns).union(*(g[0] for g in touching)), {check}.union(*(g[1] for g in touching))))
    return [(tuple(sorted(columns)), tuple(sorted(checks))) for columns, checks in groups]
