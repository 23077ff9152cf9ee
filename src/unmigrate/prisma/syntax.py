"""The grammar of schema.prisma: text into blocks of lines with attributes, without knowing what they mean.

Lenient where Prisma is strict (`prisma validate` is for that), exact about what was written: strings unescaped, arguments in order,
the line of everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from unmigrate.errors import UsageError

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\ufeff]+) | (?P<newline>\n) | (?P<comment>//[^\n]*|/\*.*?\*/)
    | (?P<string>"(?:[^"\\\n]|\\.)*") | (?P<attribute>@@?[^\W\d_][\w.-]*) | (?P<number>-?\d+(?:\.\d+)?) | (?P<name>[^\W\d_][\w-]*)
    | (?P<mark>[{}()\[\],:=?.!])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_OPENING, _CLOSING = "([", ")]"
_END = "end"


class Name(str):
    """A bare word: a field, an enum value, a function without arguments, true, a number."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Call:
    """name(arguments): now(), dbgenerated("..."), title(ops: raw("..."), sort: Desc)."""

    name: str
    arguments: tuple[tuple[str, Value], ...]

    def get(self, name: str, position: int | None = None) -> Value | None:
        return argument(self.arguments, name, position)


# A plain str is a string literal, a Name a bare word, a tuple an array; a mapping in braces is kept as a Call named "{}".
Value: TypeAlias = "str | Name | Call | tuple[Value, ...]"


@dataclass(frozen=True, slots=True)
class Attribute:
    """@name(...) or @@name(...). `name` is without the signs, e.g. "db.VarChar"; an argument without a name has "" for one."""

    name: str
    arguments: tuple[tuple[str, Value], ...]
    line: int

    def get(self, name: str, position: int | None = None) -> Value | None:
        """The argument of this name, or the unnamed one at this position."""
        return argument(self.arguments, name, position)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a block: a field, an enum value, `key = value` (then `value` is set), or block attributes (then `name` is "")."""

    name: str
    type: str
    marks: str
    unsupported: str | None
    value: Value | None
    attributes: tuple[Attribute, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Block:
    """word name { lines }; block attributes apart."""

    word: str
    name: str
    lines: tuple[Line, ...]
    attributes: tuple[Attribute, ...]
    file: Path
    line: int


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def argument(arguments: tuple[tuple[str, Value], ...], name: str, position: int | None) -> Value | None:
    for key, value in arguments:
        if key == name:
            return value
    unnamed = [value for key, value in arguments if not key]
    return unnamed[position] if position is not None and position < len(unnamed) else None


def parse_blocks(text: str, file: Path) -> tuple[Block, ...]:
    """All blocks of one file. Raises UsageError with file and line."""
    return tuple(_Parser(text, file).blocks())


def problem(file: Path, line: int, message: str) -> UsageError:
    return UsageError(f"{file}:{line}: {message}", code="schema-syntax", remedy="prisma validate says more")


def _unescaped(literal: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if code[0] == "u" and len(code) == 5 else _ESCAPES.get(code, code)

    return _ESCAPE.sub(one, literal[1:-1])


class _Parser:
    """Recursive descent over the tokens of one file. Newlines count, but not within parentheses and brackets."""

    def __init__(self, text: str, file: Path) -> None:
        self.file = file
        self.tokens = list(self._tokens(text))
        self.at = 0

    def _tokens(self, text: str) -> Iterator[_Token]:
        position, line, depth = 0, 1, 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise problem(self.file, line, f"this is not understood: {text[position : position + 30].splitlines()[0]}")
            kind, found = str(match.lastgroup), match[0]
            depth += (found in _OPENING) - (found in _CLOSING) if kind == "mark" else 0
            if kind not in ("space", "comment") and not (kind == "newline" and depth > 0):
                yield _Token(kind, found, line)
            line += found.count("\n")
            position = match.end()
        yield _Token("newline", "\n", line)
        yield _Token(_END, "the end of the file", line)

    # tokens

    @property
    def now(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.tokens[self.at]
        self.at += token.kind != _END
        return token

    def accept(self, mark: str) -> bool:
        if self.now.kind == "mark" and self.now.text == mark:
            self.at += 1
            return True
        return False

    def expect(self, mark: str) -> None:
        if not self.accept(mark):
            raise self.unexpected(mark)

    def name(self, what: str) -> _Token:
        if self.now.kind != "name":
            raise self.unexpected(what)
        return self.take()

    def skip_newlines(self) -> None:
        while self.now.kind == "newline":
            self.take()

    def unexpected(self, wanted: str) -> UsageError:
        found = "the end of the line" if self.now.kind == "newline" else self.now.text
        return problem(self.file, self.now.line, f"expected {wanted}, found {found}")

    # blocks

    def blocks(self) -> Iterator[Block]:
        self.skip_newlines()
        while self.now.kind != _END:
            yield self.block()
            self.skip_newlines()

    def block(self) -> Block:
        word = self.name("model, enum, view, type, datasource or generator")
        name = self.name("a name").text
        self.skip_newlines()
        self.expect("{")
        lines = list(self.lines())
        attributes = tuple(a for one in lines if not one.name for a in one.attributes)
        return Block(word.text, name, tuple(one for one in lines if one.name), attributes, self.file, word.line)

    def lines(self) -> Iterator[Line]:
        self.skip_newlines()
        while not self.accept("}"):
            if self.now.kind == _END:
                raise self.unexpected("}")
            yield self.line()
            if self.now.kind != "newline" and not (self.now.kind == "mark" and self.now.text == "}"):
                raise self.unexpected("the end of the line")
            self.skip_newlines()

    def line(self) -> Line:
        number = self.now.line
        if self.now.text.startswith("@@"):
            return Line("", "", "", None, None, self.attributes("@@"), number)
        name = self.name("a name").text
        if self.accept("="):
            return Line(name, "", "", None, self.value(), (), number)
        self.accept(":")
        type_, unsupported = "", None
        if self.now.kind == "name":
            type_ = self.take().text
            if type_ == "Unsupported" and self.accept("("):
                unsupported = str(self.value())
                self.expect(")")
        marks = ""
        while self.now.kind == "mark" and self.now.text in "?![]":
            marks += self.take().text
        return Line(name, type_, marks, unsupported, None, self.attributes("@"), number)

    def attributes(self, sign: str) -> tuple[Attribute, ...]:
        """Attributes up to the end of the line, and on following lines that begin with one."""
        found: list[Attribute] = []
        while True:
            start = self.at
            if sign == "@":
                self.skip_newlines()
            if self.now.kind != "attribute" or self.now.text.startswith("@@") != (sign == "@@"):
                self.at = start
                return tuple(found)
            token = self.take()
            arguments = self.arguments(")") if self.accept("(") else ()
            found.append(Attribute(token.text.lstrip("@"), arguments, token.line))

    # values

    def arguments(self, closing: str) -> tuple[tuple[str, Value], ...]:
        found: list[tuple[str, Value]] = []
        self.skip_newlines()
        while not self.accept(closing):
            key = ""
            following = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
            if self.now.kind == "name" and following.kind == "mark" and following.text == ":":
                key = self.take().text
                self.take()
                if self.now.kind == "mark" and self.now.text in (",", closing):  # `map:` without a value, as an editor leaves it
                    raise self.unexpected("a value")
            found.append((key, self.value()))
            self.accept(",")
            self.skip_newlines()
        return tuple(found)

    def value(self) -> Value:
        token = self.now
        if token.kind == "string":
            return _unescaped(self.take().text)
        if token.kind == "number":
            return Name(self.take().text)
        if token.kind == "name":
            name = self.take().text
            while self.accept("."):
                name += "." + self.name("a name").text
            return Call(name, self.arguments(")")) if self.accept("(") else Name(name)
        if self.accept("["):
            return tuple(value for _, value in self.arguments("]"))
        if self.accept("{"):
            return Call("{}", self.arguments("}"))
        raise self.unexpected("a value")
