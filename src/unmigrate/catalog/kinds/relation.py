"""What types, tables, views, sequences and indexes share: name, schema and options."""

from unmigrate.catalog.kinds.base import Statements
from unmigrate.catalog.model import Object
from unmigrate.catalog.sqltext import comment_json, comment_sql, rare

# Its name, for the {relation}, a row of pg_class, that is not in the database's own.
TABLESPACE = rare("{relation}.reltablespace <> 0", "(select quote_ident(spcname) from pg_tablespace where oid = {relation}.reltablespace)")


def rename(word: str, now: Object, wanted: Object) -> Statements:
    """ALTER <word> ... SET SCHEMA and RENAME TO, as far as they differ."""
    statements, name = [], now.name
    if now.facts["schema"] != wanted.facts["schema"]:
        statements.append(f"ALTER {word} {name} SET SCHEMA {wanted.facts['schema']}")
        name = f"{wanted.facts['schema']}.{now.facts['label']}"
    if now.facts["label"] != wanted.facts["label"]:
        statements.append(f"ALTER {word} {name} RENAME TO {wanted.facts['label']}")
    return statements


def set_options(what: str, now: list[str] | None, wanted: list[str] | None) -> Statements:
    """ALTER ... SET and RESET of storage parameters (`name=value` texts, as in reloptions)."""
    old = dict(option.split("=", 1) for option in now or [])
    new = dict(option.split("=", 1) for option in wanted or [])
    statements = []
    if gone := sorted(old.keys() - new.keys()):
        statements.append(f"ALTER {what} RESET ({', '.join(gone)})")
    if change := sorted(name for name in new if old.get(name) != new[name]):
        statements.append(f"ALTER {what} SET ({', '.join(f'{n}={quote_option(new[n])}' for n in change)})")
    return statements


def quote_option(value: str) -> str:
    return value if value.replace(".", "", 1).isalnum() else "'" + value.replace("'", "''") + "'"


def with_options(options: list[str] | None) -> str:
    pairs = [option.split("=", 1) for option in options or []]
    return f" WITH ({', '.join(f'{name}={quote_option(value)}' for name, value in pairs)})" if pairs else ""


def partitions(index: str) -> str:
    """SQL for the indexes that partitions have for an index (row of pg_class): [[table, schema and name of the index, comment]] or NULL."""
    return rare(
        f"{index}.relkind = 'I'",
        "(select jsonb_agg(jsonb_build_array(xi.indrelid::regclass::text, quote_ident(hn.nspname), quote_ident(hc.relname), "
        f"{comment_json('pg_class', 'h.inhrelid')}) order by xi.indrelid::regclass::text) "
        "from pg_inherits h join pg_index xi on xi.indexrelid = h.inhrelid join pg_class hc on hc.oid = h.inhrelid "
        f"join pg_namespace hn on hn.oid = hc.relnamespace where h.inhparent = {index}.oid)",
    )


def alter_partitions(now: Object, wanted: Object) -> Statements:
    """Names and comments of partitions' indexes; whether they are there follows from the partitions."""
    old = {table: (name, comment) for table, _, name, comment in now.facts["partitions"] or []}
    statements = []
    for table, schema, name, comment in wanted.facts["partitions"] or []:
        if table in old and old[table][0] != name:
            statements.append(f"ALTER INDEX {schema}.{old[table][0]} RENAME TO {name}")
        if table in old and old[table][1] != comment:
            statements.append(comment_sql(f"INDEX {schema}.{name}", comment))
    return statements
