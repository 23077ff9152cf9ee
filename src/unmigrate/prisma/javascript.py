"""Plain values out of JavaScript and TypeScript, without running it.

A prisma.config file is a program. Most are so plain that their values can be read: literals, objects, constants of the same file,
process.env.X, env("X"), path.join and its like, ??, ||, ?: and existsSync. Whatever is not of that kind is UNKNOWN, never guessed.
"""

import os.path
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that cannot be known without running the program."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that the file does not define, with members: path.join, process.env."""

    path: str

    @property
    def last(self) -> str:
        return self.path.rpartition(".")[2]


class FromEnvironment(str):
    """A value of a variable of the environment, which remembers its name."""

    __slots__ = ("variable",)

    variable: str

    def __new__(cls, value: str, variable: str) -> "FromEnvironment":
        made = super().__new__(cls, value)
        made.variable = variable
        return made


UNKNOWN: Final = Unknown()
# None stands for undefined and null alike.
Value: TypeAlias = "str | bool | Unknown | Reference | dict[str, Value] | list[Value] | None"

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*') | (?P<template>`(?:[^`\\]|\\.)*`)
    | (?P<number>\d[\w.]*) | (?P<name>[A-Za-z_$][\w$]*)
    | (?P<mark>=>|\.\.\.|\?\?=?|\|\|=?|&&=?|\?\.(?!\d)|[=!]==?|.)""",
    re.DOTALL | re.VERBOSE,
)
_OPENING = {"(": ")", "[": "]", "{": "}"}
_END = "end"


class _Token(NamedTuple):
    kind: str
    text: str


class _UnreadableError(Exception):
    """The grammar here ends before the program's does."""


@dataclass(slots=True)
class Program:
    """A file's tokens, read as far as they are plain. folder: of the file; cwd: where Prisma would be started."""

    text: str
    file: Path
    cwd: Path
    environ: Mapping[str, str]
    tokens: list[_Token] = field(init=False)
    constants: dict[str, int] = field(init=False)
    depth: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        found = (_Token(str(m.lastgroup), m[0]) for m in _TOKEN.finditer(self.text))
        self.tokens = [token for token in found if token.kind != "space"]
        self.constants = {}
        for at in range(len(self.tokens)):
            if self._is(at, "const", "let", "var") and (value := self._assigned(at + 2)) is not None:
                self.constants.setdefault(self._at(at + 1).text, value)

    def default_export(self) -> Value:
        """What the file exports, with what it assigned to members of it on the way (config.datasource = {...})."""
        for at in range(len(self.tokens)):
            if self._is(at, "export") and self._is(at + 1, "default"):
                return self._with_members(at + 2)
            if self._is(at, "module") and self._is(at + 1, ".") and self._is(at + 2, "exports") and self._is(at + 3, "="):
                return self._with_members(at + 4)
        return UNKNOWN

    def calls(self, *names: str) -> list[list[Value]]:
        """The arguments of every call of a function of one of these names."""
        found = []
        for at, token in enumerate(self.tokens):
            if token.kind == "name" and token.text in names and self._is(at + 1, "(") and not self._is(at - 1, "function"):
                try:
                    found.append(self._arguments(at + 2)[0])
                except (_UnreadableError, RecursionError):
                    found.append([UNKNOWN])
        return found

    # ------------------------------------------------------------------------------------------------------------------ statements

    def _with_members(self, at: int) -> Value:
        value = self.evaluate(at)
        names = {token.text for token in self.tokens[at : at + 3] if token.kind == "name"}  # config, or defineConfig(config)
        if isinstance(value, dict):
            for each in range(len(self.tokens)):
                if self._at(each).text in names and self._is(each + 1, ".") and self._is(each + 3, "=") and not self._is(each - 1, "."):
                    value[self._at(each + 2).text] = self.evaluate(each + 4)
        return value

    def _assigned(self, at: int) -> int | None:
        """Where the value of `const name: Type = value` begins, given where the type may begin."""
        if self._is(at, ":"):
            level = 0
            while at < len(self.tokens) and not (level == 0 and self._is(at, "=", ";")):
                level += self._at(at).text in "([{<"
                level -= self._at(at).text in ")]}>"
                at += 1
        return at + 1 if self._is(at, "=") else None

    def evaluate(self, at: int) -> Value:
        """The expression that begins there; UNKNOWN if it is not plain."""
        try:
            return self._expression(at)[0]
        except (_UnreadableError, RecursionError):
            return UNKNOWN

    # ----------------------------------------------------------------------------------------------------------------- expressions

    def _expression(self, at: int) -> tuple[Value, int]:
        self.depth += 1
        try:
            if self.depth > 100:
                raise _UnreadableError
            value, at = self._either(at)
            if self._is(at, "?"):
                yes, at = self._expression(at + 1)
                if not self._is(at, ":"):
                    raise _UnreadableError
                no, at = self._expression(at + 1)
                value = UNKNOWN if isinstance(value, Unknown | Reference) else yes if value else no
            return value, at
        finally:
            self.depth -= 1

    def _either(self, at: int) -> tuple[Value, int]:
        """a ?? b, a || b, a && b, a + b, from left to right: enough for configs."""
        value, at = self._unary(at)
        while self._is(at, "??", "||", "&&", "+"):
            sign = self._at(at).text
            other, at = self._unary(at + 1)
            if isinstance(value, Unknown | Reference):
                value = UNKNOWN
            elif sign == "+":
                value = value + other if isinstance(value, str) and isinstance(other, str) else UNKNOWN
            elif (sign == "??" and value is None) or (sign == "||" and not value) or (sign == "&&" and value):
                value = other
        if self._is(at, "==", "===", "!=", "!=="):
            raise _UnreadableError
        return value, at

    def _unary(self, at: int) -> tuple[Value, int]:
        if self._is(at, "!"):
            value, at = self._unary(at + 1)
            return (UNKNOWN if isinstance(value, Unknown | Reference) else not value), at
        if self._is(at, "await"):
            return self._unary(at + 1)
        value, at = self._primary(at)
        while True:
            if self._is(at, ".", "?."):
                value, at = self._member(value, self._at(at + 1).text), at + 2
            elif self._is(at, "["):
                key, at = self._expression(at + 1)
                value, at = self._member(value, key) if isinstance(key, str) else UNKNOWN, self._expect(at, "]")
            elif self._is(at, "<") and isinstance(value, Reference) and (end := self._closing_angle(at)):
                at = end
            elif self._is(at, "("):
                arguments, at = self._arguments(at + 1)
                value = self._call(value, arguments)
            elif self._is(at, "!"):
                at += 1
            elif self._is(at, "as", "satisfies"):
                at = self._type(at + 1)
            else:
                return value, at

    def _primary(self, at: int) -> tuple[Value, int]:
        kind, text = self._at(at)
        if kind == "string":
            return _unescaped(text[1:-1]), at + 1
        if kind == "template":
            return self._template(text[1:-1]), at + 1
        if text == "{":
            return self._object(at + 1)
        if text == "[":
            return self._items(at + 1, "]")
        if text == "(" and not self._is(self._skip(at), "=>"):
            value, at = self._expression(at + 1)
            return value, self._expect(at, ")")
        if kind == "name" and text not in ("function", "async", "new", "typeof", "class") and not self._is(at + 1, "=>"):
            return self._name(text), at + 1
        raise _UnreadableError

    def _name(self, name: str) -> Value:
        if name in ("true", "false"):
            return name == "true"
        if name in ("undefined", "null"):
            return None
        if name in self.constants:
            self.depth += 1  # a constant that refers to itself
            try:
                return UNKNOWN if self.depth > 50 else self.evaluate(self.constants[name])
            finally:
                self.depth -= 1
        return {"__dirname": str(self.file.parent), "__filename": str(self.file)}.get(name, Reference(name))

    def _member(self, value: Value, name: str) -> Value:
        if isinstance(value, dict):
            return member(value, name)
        if not isinstance(value, Reference):
            return UNKNOWN
        if value.path == "process.env":
            return FromEnvironment(self.environ[name], name) if name in self.environ else None
        path = f"{value.path}.{name}"
        here = {"dirname": str(self.file.parent), "filename": str(self.file), "url": self.file.as_uri()}
        return here.get(name, Reference(path)) if value.path == "import.meta" else Reference(path)

    def _call(self, function: Value, arguments: list[Value]) -> Value:
        if not isinstance(function, Reference):
            return UNKNOWN
        if function.last == "defineConfig" and arguments:
            return arguments[0]
        if function.path == "process.cwd":
            return str(self.cwd)
        texts = [each for each in arguments if isinstance(each, str)]
        if not texts or len(texts) != len(arguments):
            return UNKNOWN
        match function.last:
            case "env":
                return FromEnvironment(self.environ[texts[0]], texts[0]) if texts[0] in self.environ else None
            case "join":
                return os.path.normpath("/".join(text for text in texts if text))
            case "resolve":
                return os.path.normpath(str(self.cwd.joinpath(*texts)))
            case "dirname":
                return str(Path(texts[0]).parent)
            case "fileURLToPath":
                return unquote(urlsplit(texts[0]).path)
            case "existsSync":
                return (self.cwd / texts[0]).exists()
        return UNKNOWN

    def _template(self, text: str) -> Value:
        parts = []
        for literal, inner in re.findall(r"((?:[^$\\]|\\.|\$(?!\{))+)|\$\{([^{}]*)\}", text, re.DOTALL):
            value = _unescaped(literal) if literal else self._inside(inner)
            if not isinstance(value, str):
                return UNKNOWN
            parts.append(value)
        return "".join(parts)

    def _inside(self, text: str) -> Value:
        inner = Program(text, self.file, self.cwd, self.environ)
        offset = len(self.tokens)
        self.tokens += [*inner.tokens, _Token(_END, "")]  # so that the file's constants are known to it
        return self.evaluate(offset)

    # ------------------------------------------------------------------------------------------------------------ objects and lists

    def _object(self, at: int) -> tuple[Value, int]:
        found: dict[str, Value] = {}
        while not self._is(at, "}"):
            kind, text = self._at(at)
            key = text[1:-1] if kind == "string" else text
            if text == "...":
                value, at = self._item(at + 1, "}")
                found |= value if isinstance(value, dict) else {"...": UNKNOWN}
            elif kind not in ("string", "name"):
                at = self._skip_item(at, "}")
            elif self._is(at + 1, ":"):
                found[key], at = self._item(at + 2, "}")
            elif self._is(at + 1, ",", "}"):
                found[key], at = self._name(key), at + 1
            else:
                found[key], at = UNKNOWN, self._skip_item(at, "}")  # a method
            at += self._is(at, ",")
        return found, at + 1

    def _items(self, at: int, end: str) -> tuple[list[Value], int]:
        found = []
        while not self._is(at, end):
            value, at = self._item(at, end)
            found.append(value)
            at += self._is(at, ",")
        return found, at + 1

    def _arguments(self, at: int) -> tuple[list[Value], int]:
        return self._items(at, ")")

    def _item(self, at: int, end: str) -> tuple[Value, int]:
        """One value of a list; what is not plain is stepped over."""
        try:
            value, after = self._expression(at)
        except _UnreadableError:
            value, after = UNKNOWN, at
        if self._is(after, ",", end):
            return value, after
        return UNKNOWN, self._skip_item(at, end)

    def _skip_item(self, at: int, end: str) -> int:
        while not self._is(at, ",", end):
            at = self._skip(at)
        return at

    def _skip(self, at: int) -> int:
        """Past one token, or past everything between a pair of brackets."""
        if self._at(at).kind == _END:
            raise _UnreadableError
        closing = _OPENING.get(self._at(at).text)
        at += 1
        while closing is not None and not self._is(at, closing):
            at = self._skip(at)
        return at + (closing is not None)

    # ------------------------------------------------------------------------------------------------------------------------ types

    def _type(self, at: int) -> int:
        """Past a plain type: string, `const`, PrismaConfig["a"], Record<string, string> | undefined."""
        while True:
            at = self._skip(at)
            while self._is(at, "[", ".", "<"):
                at = (self._closing_angle(at) or at + 1) if self._is(at, "<") else self._skip(at) + (self._is(at, "."))
            if not self._is(at, "|", "&"):
                return at
            at += 1

    def _closing_angle(self, at: int) -> int | None:
        level = 0
        for each in range(at, min(at + 60, len(self.tokens))):
            level += (self._at(each).text == "<") - (self._at(each).text == ">")
            if level == 0:
                return each + 1
        return None

    # ----------------------------------------------------------------------------------------------------------------------- tokens

    def _at(self, at: int) -> _Token:
        return self.tokens[at] if 0 <= at < len(self.tokens) else _Token(_END, "")

    def _is(self, at: int, *texts: str) -> bool:
        token = self._at(at)
        return token.kind in ("name", "mark") and token.text in texts

    def _expect(self, at: int, mark: str) -> int:
        if not self._is(at, mark):
            raise _UnreadableError
        return at + 1


def member(value: dict[str, Value], name: str) -> Value:
    """A member of an object, which may have come with something that was spread into it."""
    return value.get(name, value.get("..."))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), text, flags=re.DOTALL)
