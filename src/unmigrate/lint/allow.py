"""Comments that allow a finding: `-- unmigrate: allow <rule>, <rule>: reason`, for the whole file, wherever they stand in it."""

import re
from dataclasses import dataclass, replace

from unmigrate.lint.model import Finding

_COMMENT = re.compile(r"--[ \t]*unmigrate:[ \t]*(?P<verb>[\w-]+)(?P<rest>[^\n]*)")
_RULES = re.compile(r"^[ \t]*(?P<names>[\w/-]+(?:[ \t]*,[ \t]*[\w/-]+)*)[ \t]*(?::[ \t]*(?P<reason>.*))?$")


@dataclass(frozen=True, slots=True)
class Allowed:
    """reasons: {rule: why}. wrong: (offset, what is wrong) of comments that allow nothing."""

    reasons: dict[str, str]
    wrong: tuple[tuple[int, str], ...]


def read(sql: str, known: frozenset[str]) -> Allowed:
    """The comments of one file. known: names of our own rules; squawk's are "squawk/<rule>" and not looked up."""
    reasons: dict[str, str] = {}
    wrong = []
    for match in _comments(sql):
        parsed = _RULES.match(match["rest"].rstrip())
        if match["verb"] != "allow" or parsed is None:
            wrong.append((match.start(), "this comment is not understood: write -- unmigrate: allow <rule>: reason"))
            continue
        names = [name.strip() for name in parsed["names"].split(",")]
        reason = (parsed["reason"] or "").strip()
        if unknown := [name for name in names if name not in known and not name.startswith("squawk/")]:
            wrong.append((match.start(), f"there is no rule {unknown[0]}"))
        elif not reason:
            wrong.append((match.start(), f"it gives no reason, so {', '.join(names)} still counts"))
        else:
            reasons |= dict.fromkeys(names, reason)
    return Allowed(reasons, tuple(wrong))


def _comments(sql: str) -> list[re.Match[str]]:
    """Those that PostgreSQL takes for comments: inside a string or a function's body, or in /* */, they allow nothing."""
    found = list(_COMMENT.finditer(sql))
    if not found:
        return []
    from pglast.parser import ParseError, scan

    try:
        spans = [(token.start, token.end) for token in scan(sql) if token.name == "SQL_COMMENT"]
    except ParseError:
        return []
    return [match for match in found if any(start <= match.start() <= end for start, end in spans)]


def apply(findings: list[Finding], reasons: dict[str, str]) -> list[Finding]:
    """The findings, those with a reason marked."""
    return [replace(f, allowed=reasons[f.rule]) if f.rule in reasons else f for f in findings]
