"""A TOML table as a frozen dataclass: every value checked against the field's type, errors with file and line.

Fields may be bool, int, float, str, Literal, Any, another such dataclass, `X | None`, tuple[X, ...] and dict[str, X]. A key is its field's
name. Fields without default must be given. A dataclass may have a method `problems()` that yields (key, what is wrong, remedy).
A field with metadata key=False is no key of the file.
"""

import difflib
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NoReturn, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints, runtime_checkable

from unmigrate.errors import UsageError

T = TypeVar("T")
Where = tuple[str | int, ...]
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}
_MISSING = object()


@runtime_checkable
class Checked(Protocol):
    """A section with rules beyond types."""

    def problems(self) -> Iterator[tuple[str, str, str]]: ...


class Reader:
    """One file. Raises UsageError (code "config") with its name and the line of what is wrong."""

    def __init__(self, file: Path, text: str) -> None:
        self.file, self.text = file, text

    def parse(self) -> dict[str, Any]:
        """The file as TOML."""
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            self._fail_at(_error_line(self.text, str(error)), f"this is not TOML: {error}", "correct the line")

    def read(self, kind: type[T], table: Any, at: Where = ()) -> T:
        """The table as `kind`."""
        if not isinstance(table, dict):
            self.fail(at, f"{_dotted(at)} must be a section", f"write [{_dotted(at)}] and its keys below")
        hints, known = get_type_hints(kind), {f.name: f for f in fields(kind) if f.metadata.get("key", True)}  # type: ignore[arg-type]
        for key in table:
            if key not in known:
                self._unknown(at, key, sorted(known))
        values = {key: self._value(hints[key], value, (*at, key)) for key, value in table.items()}
        for name, field in known.items():
            if name not in values and _required(field):
                self.fail(at, f"[{_dotted(at)}] lacks {name}", f"add {name} = …")
        made = kind(**values)
        if isinstance(made, Checked):
            for key, wrong, remedy in made.problems():
                self.fail((*at, key), wrong, remedy)
        return made

    def fail(self, at: Where, message: str, remedy: str) -> NoReturn:
        self._fail_at(_line_of(self.text, at), message, remedy)

    def _fail_at(self, line: int, message: str, remedy: str) -> NoReturn:
        raise UsageError(f"{self.file}:{line}: {message}", code="config", remedy=remedy)

    def _unknown(self, at: Where, key: str, known: list[str]) -> NoReturn:
        where = f"in [{_dotted(at)}]" if at else "as a section"
        near = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        self.fail((*at, key), f"{key} is not known {where}", f"{hint}allowed are {', '.join(known)}")

    def _value(self, hint: Any, value: Any, at: Where) -> Any:
        origin, arguments = get_origin(hint), get_args(hint)
        if hint is Any:
            return value
        if origin in (Union, UnionType):
            return self._value(next(a for a in arguments if a is not type(None)), value, at)
        if origin is Literal:
            if value not in arguments:
                self.fail(at, f"{_dotted(at)} is {value!r}", f"allowed are {', '.join(repr(a) for a in arguments)}")
            return value
        if origin is tuple:
            self._expect(list, value, at, "a list in [ ]")
            return tuple(self._value(arguments[0], each, (*at, number)) for number, each in enumerate(value))
        if origin is dict:
            self._expect(dict, value, at, "a section")
            return {key: self._value(arguments[1], each, (*at, key)) for key, each in value.items()}
        if is_dataclass(hint):
            return self.read(hint, value, at)  # type: ignore[arg-type]
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        self._expect(hint, value, at, _WORDS[hint])
        return value

    def _expect(self, kind: Any, value: Any, at: Where, words: str) -> None:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(at, f"{_dotted(at)} is {_shown(value)}", f"give {words}")


def _required(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _shown(value: Any) -> str:
    return (
        "true"
        if value is True
        else "false"
        if value is False
        else repr(value)
        if isinstance(value, str | int | float)
        else "a table or list"
    )


def _dotted(at: Where) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" if i else part for i, part in enumerate(at))


def _line_of(text: str, at: Where) -> int:
    """The line where the value at this path begins: the one after the longest beginning of the file that parses and has it not.

    The beginnings of the file are parsed one after another: it is asked only when something is wrong, and finds every way to write a key.
    """
    lines = text.splitlines(keepends=True)
    for end in range(len(at), 0, -1):  # what was never written (a missing key) is where its section is
        good = 0
        for count in range(1, len(lines) + 1):
            try:
                found = _at(tomllib.loads("".join(lines[:count])), at[:end])
            except tomllib.TOMLDecodeError:
                continue
            if found is not _MISSING:
                return good + 1
            good = count
    return 1


def _at(value: Any, path: Where) -> Any:
    for part in path:
        if isinstance(part, int):
            if not isinstance(value, list) or len(value) <= part:
                return _MISSING
        elif not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _error_line(text: str, message: str) -> int:
    """tomllib says "(at line 3, column 1)" or "(at end of document)"."""
    word = message.partition("at line ")[2].partition(",")[0]
    return int(word) if word.isdigit() else max(1, len(text.splitlines()))
