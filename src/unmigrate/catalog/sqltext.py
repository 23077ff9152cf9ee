"""Pieces of SQL text that every kind needs: quoting, comments, grants."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from unmigrate.catalog.model import Object

UNCHECKED_BODIES = "SET LOCAL check_function_bodies = off"  # as pg_dump does: routines outlive what their bodies name, and come back so
RESERVED_PLACEHOLDER = "{owner}"  # stands for the object's owner in grants, so that two servers compare


def literal(value: str) -> str:
    """A string literal that reads the same whatever standard_conforming_strings says."""
    quoted = "'" + value.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in value else quoted


def ident(name: str) -> str:
    """A quoted identifier, always quoted: reserved words need no list."""
    return '"' + name.replace('"', '""') + '"'


def bare(name: str) -> str:
    """An identifier as it is stored, from one that may be quoted."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


_ONE = r"'(?:[^']|'')*'::character varying"
_AMONG = re.compile(rf"\(\((\w+|\"(?:[^\"]|\"\")+\")\)::text (= ANY|<> ALL) \(\(ARRAY\[({_ONE}(?:, {_ONE})*)\]\)::text\[\]\)\)")


def loadable(text: str) -> str:
    """Deparsed text in words that read the same again once loaded.

    PostgreSQL shows `x IN ('a', 'b')` of a varchar column as a cast array, and shows what is made of that text in yet another way.
    """

    def among(match: re.Match[str]) -> str:
        values = match[3].replace("::character varying", "")
        return f"({match[1]} {'IN' if match[2] == '= ANY' else 'NOT IN'} ({values}))"

    return _AMONG.sub(among, text)


def comment_sql(what: str, comment: str | None) -> str:
    return f"COMMENT ON {what} IS {literal(comment) if comment is not None else 'NULL'}"


def grantee_sql(grantee: str) -> str:
    return {"": "PUBLIC", RESERVED_PLACEHOLDER: "CURRENT_USER"}.get(grantee, ident(grantee))


def grant_sql(
    what: str, old: dict[str, Any] | None, new: dict[str, Any] | None, order: Sequence[str] | None = (), now: Sequence[str] | None = ()
) -> list[str]:
    """GRANT and REVOKE statements that turn the grants `old` into `new`.

    Grants are {"added": [[grantee, privilege, grantable, columns?]], "removed": [...]} relative to the built-in default.
    order: the grantees as they are to stand, and pg_dump shows them; now: as they stand.
    """
    old_added, old_removed = _entries(old)
    new_added, new_removed = _entries(new)
    place = {grantee: number for number, grantee in enumerate(order or ())}
    late = _to_the_end(order or (), [g for g in now or () if any(g == e[0] for e in new_added)], new_added)
    again = {entry for entry in old_added & new_added if entry[0] in late}
    statements = []
    for grantee, privilege, _ in sorted((old_added - new_added) | (new_removed - old_removed) | again):
        statements.append(f"REVOKE {privilege} ON {what} FROM {grantee_sql(grantee)}")
    granted = (new_added - old_added) | (old_removed - new_removed) | again
    for grantee, privilege, option in sorted(granted, key=lambda entry: (place.get(entry[0], -1), entry)):
        with_option = " WITH GRANT OPTION" if option else ""
        statements.append(f"GRANT {privilege} ON {what} TO {grantee_sql(grantee)}{with_option}")
    return statements


def grants(what: str, now: Object | None, wanted: Object) -> list[str]:
    """`grant_sql` for an object that is as `now`, or was just made."""
    order = wanted.raw.get("grantees")
    if now is None:
        return grant_sql(what, None, wanted.facts["acl"], order)
    return grant_sql(what, now.facts["acl"], wanted.facts["acl"], order, now.raw.get("grantees"))


def _to_the_end(order: Sequence[str], staying: Sequence[str], entries: set[tuple[str, str, bool]]) -> set[str]:
    """Grantees that stand before one that is to be granted first: to be granted anew. Not if others may hold what they granted."""
    wanted = [g for g in order if any(g == e[0] for e in entries)]
    kept = 0
    while kept < len(staying) and kept < len(wanted) and staying[kept] == wanted[kept]:
        kept += 1
    late = set(staying[kept:]) - {"", RESERVED_PLACEHOLDER}
    return set() if any(option for grantee, _, option in entries if grantee in late) else late


def _entries(grants: dict[str, Any] | None) -> tuple[set[tuple[str, str, bool]], set[tuple[str, str, bool]]]:
    if not grants:
        return set(), set()
    added: Iterable[list[Any]] = grants.get("added") or []
    removed: Iterable[list[Any]] = grants.get("removed") or []
    return {(g, p, bool(o)) for g, p, o in added}, {(g, p, bool(o)) for g, p, o in removed}


def acl_json(acl: str, kind: str, owner: str) -> str:
    """SQL for grants as JSON relative to acldefault(); NULL where they are the default (NULL is not an empty ACL).

    kind: the letter that acldefault() wants, or an SQL expression for it.
    """
    letter = f"'{kind}'" if len(kind) == 1 else kind

    def entries(items: str) -> str:
        return (
            f"select case when x.grantee = 0 then '' when x.grantee = {owner} then '{RESERVED_PLACEHOLDER}' "
            f"else pg_get_userbyid(x.grantee)::text end g, x.privilege_type p, x.is_grantable o from aclexplode({items}) x"
        )

    mine, default = entries(acl), entries(f"acldefault({letter}, {owner})")

    def minus(left: str, right: str) -> str:
        return f"(select jsonb_agg(jsonb_build_array(g, p, o) order by g, p, o) from (({left}) except ({right})) q)"

    both = f"'added', {minus(mine, default)}, 'removed', {minus(default, mine)}"
    return rare(f"{acl} is not null", f"nullif(jsonb_strip_nulls(jsonb_build_object({both})), '{{}}')")


def grantees_json(acl: str, owner: str) -> str:
    """SQL for who was granted something, in the order in which pg_dump shows it."""
    name = (
        f"case when x.grantee = 0 then '' when x.grantee = {owner} then '{RESERVED_PLACEHOLDER}' else pg_get_userbyid(x.grantee)::text end"
    )
    distinct = f"select x.grantee, min(o) o from aclexplode({acl}) with ordinality x (grantor, grantee, privilege, grantable, o) group by 1"
    return rare(f"{acl} is not null", f"(select jsonb_agg({name} order by x.o) from ({distinct}) x)")


_RARE = re.compile(r"/\*rare (.*?)\*/.*?/\*end\*/", re.DOTALL)
_MARKS = re.compile(r"/\*rare .*?\*/|/\*end\*/")
LOOK_AGAIN = "unmigrate: look again"


def rare(condition: str | None, expression: str) -> str:
    """The SQL expression where the condition holds, which is rare; else NULL. None: wherever another one of the row's conditions holds."""
    expression = _MARKS.sub("", expression)
    return f"/*rare {condition or 'false'}*/{f'(case when {condition} then {expression} end)' if condition else expression}/*end*/"


def lean(query: str) -> str:
    """The query with what is `rare`, and costs much to set up, replaced by LOOK_AGAIN where it is needed."""
    return _RARE.sub(lambda match: f"(case when {match[1]} then to_jsonb('{LOOK_AGAIN}'::text) end)", query)


def comment_json(catalog: str, oid: str, sub: str = "0") -> str:
    return f"(select description from pg_description where classoid = '{catalog}'::regclass and objoid = {oid} and objsubid = {sub})"
