"""Texts that match a regular expression or a LIKE pattern, for the columns whose checks ask for it.

Covers what people write in checks (classes, groups, alternatives, repetition, escapes, anchors); what it does not know
it leaves out, and the server decides whether the text fits.
"""

from __future__ import annotations

import string

_CLASSES = {
    "d": string.digits, "w": string.ascii_lowercase + string.digits + "_", "s": " ",
    "D": string.ascii_lowercase, "W": "-", "S": "x",
    "alpha": string.ascii_lowercase, "upper": string.ascii_uppercase, "lower": string.ascii_lowercase,
    "digit": string.digits, "xdigit": "abcdef" + string.digits, "alnum": string.ascii_lowercase + string.digits,
    "space": " ", "punct": "-.",
}  # fmt: skip
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r"}
_SILENT = "ABbmMyYZ"  # escapes that match no character
_LONGEST = 400


class _Sampler:
    """Recursive descent over the pattern; each choice is made from the digits of `n`, so that texts differ."""

    def __init__(self, pattern: str, n: int, generous: bool) -> None:
        self.pattern, self.position, self.n, self.generous = pattern, 0, n, generous

    def choose(self, count: int) -> int:
        self.n, rest = divmod(self.n, count)
        return rest

    def peek(self) -> str:
        return self.pattern[self.position] if self.position < len(self.pattern) else ""

    def take(self) -> str:
        char = self.peek()
        self.position += 1
        return char

    def alternatives(self) -> list[list[tuple[object, int, int]]]:
        branches: list[list[tuple[object, int, int]]] = [[]]
        while self.peek() and self.peek() != ")":
            if self.peek() == "|":
                self.take()
                branches.append([])
                continue
            atom = self.atom()
            low, high = self.repetition()
            if atom is not None:
                branches[-1].append((atom, low, high))
        return branches

    def atom(self) -> object:
        char = self.take()
        if char in "^$":
            return None
        if char == ".":
            return string.ascii_lowercase
        if char == "[":
            return self.bracket()
        if char == "(":
            negative = False
            if self.peek() == "?":
                self.take()
                negative = self.take() in "!<="  # looking around adds nothing to the text
            inner = self.alternatives()
            self.take()
            return None if negative else inner
        if char == "\\":
            escape = self.take()
            if escape in _SILENT:
                return None
            return _CLASSES.get(escape) or _ESCAPES.get(escape, escape)
        return char

    def bracket(self) -> str:
        negated, allowed = False, ""
        if self.peek() == "^":
            negated = bool(self.take())
        first = True
        while self.peek() and (self.peek() != "]" or first):
            first = False
            char = self.take()
            if char == "[" and self.peek() == ":":
                end = self.pattern.find(":]", self.position)
                allowed += _CLASSES.get(self.pattern[self.position + 1 : end], "")
                self.position = end + 2
                continue
            if char == "\\":
                escape = self.take()
                allowed += _CLASSES.get(escape) or _ESCAPES.get(escape, escape)
                continue
            if self.peek() == "-" and self.pattern[self.position + 1 : self.position + 2] not in ("]", ""):
                self.take()
                last = self.take()
                allowed += "".join(map(chr, range(ord(char), min(ord(last), ord(char) + 200) + 1)))
            else:
                allowed += char
        self.take()
        if negated:
            return "".join(c for c in string.ascii_lowercase + string.digits + "-_. " if c not in allowed) or "~"
        return allowed or "x"

    def repetition(self) -> tuple[int, int]:
        low, high = 1, 1
        if self.peek() and self.peek() in "*+?":
            low, high = {"*": (0, 3), "+": (1, 4), "?": (0, 1)}[self.take()]
        elif self.peek() == "{":
            end = self.pattern.find("}", self.position)
            first, comma, second = self.pattern[self.position + 1 : end].partition(",")
            if first.isdigit():
                low = int(first)
                high = int(second) if second.isdigit() else low + (3 if comma else 0)
                self.position = end + 1
        if self.peek() == "?":
            self.take()
        return min(low, _LONGEST), min(high, _LONGEST)

    def write(self, branches: list[list[tuple[object, int, int]]]) -> str:
        text = ""
        for atom, low, high in branches[self.choose(len(branches))]:
            count = max(low, min(high, low + 2)) if self.generous else low or min(high, self.choose(2))
            for _ in range(count):
                if len(text) > _LONGEST:
                    break
                text += self.write(atom) if isinstance(atom, list) else self._letter(str(atom))
        return text

    def _letter(self, letters: str) -> str:
        return letters if len(letters) == 1 else letters[self.choose(len(letters))]


def matching(pattern: str, count: int = 4) -> list[str]:
    """Up to `count` short texts, and one long one, that should match the regular expression."""
    texts: list[str] = []
    for n in range(count + 1):
        sampler = _Sampler(pattern.removeprefix("(?i)"), n * 7 + 1, generous=n == count)
        try:
            text = sampler.write(sampler.alternatives())
        except (RecursionError, ValueError, IndexError):
            break
        if text not in texts:
            texts.append(text)
    return texts


def like(pattern: str, n: int = 0) -> str:
    """A text that matches a LIKE or SIMILAR TO pattern without alternatives."""
    text, escaped = "", False
    for char in pattern:
        if escaped or char not in "\\%_":
            text, escaped = text + char, False
        elif char == "\\":
            escaped = True
        else:
            text += f"x{n}" if char == "%" else string.ascii_lowercase[n % 26]
    return text
