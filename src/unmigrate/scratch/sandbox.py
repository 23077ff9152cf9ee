"""A migration's text, made to run without a superuser: statements on extensions that need one become calls of our functions.

A statement that acts as a role of the history, or gives it something, is preceded and followed by calls that let it (`lending.sql`).
Only those statements are replaced; everything else stays byte for byte. Statements inside the body of a DO block are replaced too, and
what it executes from a literal; bodies of functions are left alone, for they are read back from the catalog. Extensions that
PostgreSQL itself trusts stay as they are.
"""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql as quoting

from unmigrate.scratch.roles import MadeRoles, roles_met
from unmigrate.sql.words import says

SCHEMA = "unmigrate_scratch"
DOLLARS = re.compile(r"(\$[^$]*\$)(.*)\1", re.DOTALL)
MENTION = ("extension",)
# Each way that ROLES knows has one of these words.
ROLE_WORDS = ("owner", "authorization", "role", "user", "owned", "group")
ROLES = re.compile(
    r"\bowner\s+to\b|\bauthorization\b|\bset\s+(?:local\s+|session\s+)?role\b|\bfor\s+(?:role|user)\b|\bowned\s+by\b"
    r"|\bdrop\s+(?:role|user|group)\b",
    re.IGNORECASE,
)
# `trusted = true` in their control files since 13, so a role without superuser that may create in the database may create them.
TRUSTED_NAMES = """bool_plperl btree_gin btree_gist citext cube dict_int fuzzystrmatch hstore intarray isn jsonb_plperl lo ltree
    pg_trgm pgcrypto plperl plpgsql pltcl seg tablefunc tcn tsm_system_rows tsm_system_time unaccent uuid-ossp"""
TRUSTED = frozenset(TRUSTED_NAMES.split())
VERBS = frozenset({"CREATE", "ALTER", "SET", "REASSIGN", "DROP"})
STARTS = frozenset({"ASCII_59", "BEGIN_P", "THEN", "ELSE", "LOOP"})  # after these a PL/pgSQL statement begins


class ScratchConnection(psycopg.Connection[Any]):
    """A connection on which migrations run. helped: extensions that need a superuser are created by our functions."""

    made_roles: MadeRoles
    helped = True


class ScratchCursor(psycopg.Cursor[Any]):
    """Executes migrations' text, made to run there: extensions without a superuser, roles only once per server."""

    def execute(self, query: Any, params: Any = None, **kwargs: Any) -> "ScratchCursor":
        connection = self.connection
        if not isinstance(query, str) or params is not None or not isinstance(connection, ScratchConnection):
            return super().execute(query, params, **kwargs)
        query = connection.made_roles.without_others(connection, query)
        super().execute(rewrite(query) if connection.helped else query, **kwargs)
        connection.made_roles.note(connection, query)
        return self


def rewrite(sql: str) -> str:
    """`sql` with CREATE and ALTER EXTENSION (SET SCHEMA, UPDATE) of extensions that need a superuser replaced, and roles lent.

    Text that cannot be scanned is returned as it is: PostgreSQL will say what is wrong with it.
    """
    return _rewrite(sql, "SELECT") if _concerned(sql) else sql


def _concerned(sql: str) -> bool:
    return says(sql, MENTION) or _speaks_of_roles(sql)


def _speaks_of_roles(sql: str) -> bool:
    return says(sql, ROLE_WORDS) and ROLES.search(sql) is not None


def roles_dropped(sql: str) -> frozenset[str]:
    """The roles that a migration drops, in statements of its own or of its DO blocks."""
    if not _speaks_of_roles(sql):
        return frozenset()
    names: set[str] = set()
    tokens = _tokens(sql)
    for index, token in enumerate(tokens[:-1]):
        if token.name == "DROP" and tokens[index + 1].name in ("ROLE", "USER", "GROUP_P"):
            last = next((i for i in range(index, len(tokens)) if tokens[i].name == "ASCII_59"), len(tokens)) - 1
            met = roles_met(sql[token.start : tokens[last].end + 1])
            names.update(met.names if met and met.drops else ())
        elif token.name == "DO" and tokens[index + 1].name == "SCONST" and (body := DOLLARS.fullmatch(_of(sql, tokens[index + 1]))):
            names |= roles_dropped(body[2])
    return frozenset(names)


def _tokens(text: str) -> list[Any]:
    """The text's tokens without comments; none where it cannot be scanned."""
    from pglast import parser

    try:
        return [token for token in parser.scan(text) if token.name not in ("SQL_COMMENT", "C_COMMENT")]
    except parser.ParseError:
        return []


def _of(text: str, token: Any) -> str:
    return text[token.start : token.end + 1]


def _rewrite(text: str, verb: str) -> str:
    pieces: list[str] = []
    done = 0
    for start, end, replacement in _replacements(text, _tokens(text), verb):
        pieces += [text[done:start], replacement]
        done = end
    return "".join([*pieces, text[done:]])


def _replacements(text: str, tokens: list[Any], verb: str) -> Iterator[tuple[int, int, str]]:
    """Spans of the text and what stands there instead, in order."""
    begins = True
    is_do = False
    for index, token in enumerate(tokens):
        if begins:
            is_do = token.name == "DO"
            if token.name in VERBS and index + 1 < len(tokens):
                last = next((i for i in range(index, len(tokens)) if tokens[i].name == "ASCII_59"), len(tokens)) - 1
                end = tokens[last].end + 1
                statement = text[token.start : end]
                is_extension = token.name in ("CREATE", "ALTER") and tokens[index + 1].name == "EXTENSION"
                if new := _call(statement, verb) if is_extension else _lent(statement, verb):
                    yield token.start, end, new
        if token.name == "SCONST" and ((is_do and verb == "SELECT") or (verb == "PERFORM" and _executed(tokens, index))):
            literal = _of(text, token)
            if (new := _literal(literal, "PERFORM" if is_do else "SELECT")) != literal:
                yield token.start, token.end + 1, new
        begins = token.name == "ASCII_59" or (verb == "PERFORM" and token.name in STARTS)


def _executed(tokens: list[Any], index: int) -> bool:
    """Whether the literal is all that a PL/pgSQL statement EXECUTE runs."""
    around = [token.name for token in tokens[max(index - 2, 0) : index + 2]]
    return len(around) == 4 and around[0] in STARTS and around[1] == "EXECUTE" and around[3] == "ASCII_59"


def _literal(literal: str, verb: str) -> str:
    """A literal that holds statements, with them replaced; one with escapes (E'…') as it is."""
    dollars = DOLLARS.fullmatch(literal)
    if not dollars and not literal.startswith("'"):
        return literal
    text = dollars[2] if dollars else literal[1:-1].replace("''", "'")
    new = _rewrite(text, verb) if _concerned(text) else text
    if new == text or (dollars and dollars[1] in new):
        return literal
    return f"{dollars[1]}{new}{dollars[1]}" if dollars else "'" + new.replace("'", "''") + "'"


def _lent(statement: str, verb: str) -> str | None:
    """The statement between calls that let it act as the roles it names, or give to them; None where it names none.

    Instead of DROP ROLE, a call that drops it once no other database of the server knows it.
    """
    met = roles_met(statement) if _speaks_of_roles(statement) else None
    if met is None:
        return None
    if met.drops:
        exists = str(met.if_exists).lower()
        return "; ".join(f"{verb} {SCHEMA}.drop_role({_text(role)}, {exists})" for role in met.names)
    before = [f"{verb} {SCHEMA}.lend({_text(role)}, {str(met.gives).lower()})" for role in met.names]
    after = [f"{verb} {SCHEMA}.take_back({_text(role)})" for role in met.names if met.gives]
    return "; ".join([*before, statement, *after])


def _call(statement: str, verb: str) -> str | None:
    """The call that does what one CREATE or ALTER EXTENSION says; None where it can stay."""
    from pglast import parse_sql, parser

    try:
        parsed = parse_sql(statement)
    except parser.ParseError:
        return None
    node: Any = parsed[0].stmt if parsed else None
    kind = type(node).__name__  # not isinstance: every attribute of pglast's nodes is optional to the type checker
    if kind == "AlterObjectSchemaStmt":
        return f"{verb} {SCHEMA}.move_extension({_text(node.object.sval)}, {_text(node.newschema)})"
    if kind not in ("CreateExtensionStmt", "AlterExtensionStmt") or node.extname in TRUSTED:
        return None
    options = {option.defname: option.arg for option in node.options or ()}
    arguments = [_text(node.extname)]
    if kind == "AlterExtensionStmt":
        arguments += [_text(options["new_version"].sval)] if "new_version" in options else []
        return f"{verb} {SCHEMA}.update_extension({', '.join(arguments)})"
    if node.if_not_exists:
        arguments.append("if_not_exists => true")
    if "schema" in options:
        arguments.append(f"in_schema => {_text(options['schema'].sval)}")
    if "new_version" in options:
        arguments.append(f"in_version => {_text(options['new_version'].sval)}")
    if "cascade" in options:
        arguments.append("cascade => true")
    arguments.append("home => pg_catalog.current_schema()")
    return f"{verb} {SCHEMA}.create_extension({', '.join(arguments)})"


def _text(value: str) -> str:
    return quoting.Literal(value).as_string(None)
