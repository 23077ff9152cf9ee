"""What an error says about rows, and what a migration's text says about the constraint or type that they do not fit."""

import re
from dataclasses import dataclass

KEY = re.compile(r"Key \((.*?)\)=\((.*)\) (?:is not present|already exists|is duplicated|is still referenced)", re.DOTALL)
PARENT = re.compile(r'is not present in table "(.*)"')
LABEL = re.compile(r"invalid input value for enum (.+?): \"(.*)\"", re.DOTALL)
SYNTAX = re.compile(r"invalid input syntax for (?:type )?(.+?)(?:: \"(.*)\"|$)", re.DOTALL)
TOO_LONG = re.compile(r"value too long for type character(?: varying)?\((\d+)\)")
_NEW_ENUM = re.compile(r"CREATE\s+TYPE\s+((?:\"[^\"]+\"|\w+)(?:\.(?:\"[^\"]+\"|\w+))?)\s+AS\s+ENUM\s*\(([^)]*)\)", re.IGNORECASE)


def new_labels(sql: str, enum: str) -> list[str]:
    """The labels that a migration creates a type with, or adds to it."""
    labels: list[str] = []
    for name, listed in _NEW_ENUM.findall(sql):
        if name.split(".")[-1].strip('"') == enum:
            labels = [text.replace("''", "'") for text in re.findall(r"'((?:[^']|'')*)'", listed)]
    added = rf'ALTER\s+TYPE\s+[\w".]*?{re.escape(enum)}"?\s+ADD\s+VALUE\s+(?:IF\s+NOT\s+EXISTS\s+)?\'([^\']*)\''
    return labels + re.findall(added, sql, re.IGNORECASE)


def adds_required_column(sql: str, name: str) -> bool:
    """Whether a column comes with NOT NULL and without a default: no row can have it."""
    found = re.search(rf'ADD\s+COLUMN\s+"?{re.escape(name)}"?\s([^,;]*)', sql, re.IGNORECASE)
    return bool(found and re.search(r"NOT\s+NULL", found.group(1), re.IGNORECASE) and "DEFAULT" not in found.group(1).upper())


def referenced_columns(sql: str, constraint: str) -> list[str]:
    """The columns that a new foreign key points to, where the migration names them."""
    name = r'(?:"[^"]+"|\w+)'
    pattern = rf'{re.escape(constraint)}"?\s+FOREIGN\s+KEY.*?REFERENCES\s+(?:{name}\.)?{name}\s*(?:\(([^)]*)\))?'
    found = re.search(pattern, sql, re.IGNORECASE | re.DOTALL)
    return [part.strip().strip('"') for part in (found.group(1) or "").split(",")] if found else []


@dataclass(frozen=True, slots=True)
class NewKey:
    """A foreign key that a script adds to a table: names, as it writes them, without quotes. schema: "" where it says none."""

    schema: str
    table: str
    columns: tuple[str, ...]
    parent: str
    constraint: str


_N = r'(?:"[^"]+"|\w+)'
_NEW_KEY = re.compile(
    rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(?:({_N})\.)?({_N})"
    rf"|ADD\s+CONSTRAINT\s+({_N})\s+FOREIGN\s+KEY\s*\(([^)]*)\)\s*REFERENCES\s+(?:{_N}\.)?({_N})",
    re.IGNORECASE,
)


def new_keys(sql: str) -> list[NewKey]:
    """Named foreign keys that the text adds to tables, in DO blocks too."""
    found, schema, table = [], "", ""
    for match in _NEW_KEY.finditer(sql):
        words = [(word or "").strip('"') for word in match.groups()]
        if words[1]:
            schema, table = words[:2]
        elif table:
            columns = tuple(name.strip().strip('"') for name in words[3].split(","))
            found.append(NewKey(schema, table, columns, words[4], words[2]))
    return found


def check_text(sql: str, name: str) -> str:
    """The expression of a named check, as the migration writes it."""
    found = re.search(rf'CONSTRAINT\s+"?{re.escape(name)}"?\s+CHECK\s*\(', sql, re.IGNORECASE)
    if not found:
        return ""
    depth, quote = 1, ""
    for position in range(found.end(), len(sql)):
        char = sql[position]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        else:
            depth += (char == "(") - (char == ")")
        if depth == 0:
            return sql[found.end() : position]
    return ""
