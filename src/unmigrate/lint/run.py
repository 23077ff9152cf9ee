"""Our rules on one migration: findings with level, place and what a comment allows."""

from collections.abc import Mapping

from unmigrate.config.lint import Level, Lint
from unmigrate.errors import UsageError
from unmigrate.lint import allow
from unmigrate.lint.model import Finding, Subject
from unmigrate.lint.rules import RULES

ORDER: Mapping[Level, int] = {"off": 0, "note": 1, "warning": 2, "error": 3}


def check_config(config: Lint) -> None:
    """Raises UsageError where [lint.rules] names a rule that we do not have."""
    for name in config.rules:
        if name not in RULES and not name.startswith("squawk/"):
            remedy = f"there are {', '.join(RULES)}, and squawk's as squawk/<rule>"
            raise UsageError(f"unmigrate.toml: [lint.rules] names {name}, which is no rule", code="config", remedy=remedy)


def lint(subject: Subject, config: Lint) -> list[Finding]:
    """What our rules find in one migration, worst first, then by place. Those that are allowed are marked, those that are off left out."""
    sql = subject.migration.sql
    allowed = allow.read(sql, frozenset(RULES))
    found = [finding(name, subject, hit.message, hit.at, config) for name, rule in RULES.items() for hit in rule.find(subject)]
    found += [finding("allow-comment", subject, message, at, config) for at, message in allowed.wrong]
    kept = [f for f in found if f.level != "off"]
    return sorted(allow.apply(kept, allowed.reasons), key=lambda f: (-ORDER[f.level], f.line, f.rule))


def finding(name: str, subject: Subject, message: str, at: int | None, config: Lint) -> Finding:
    """One finding of a rule of ours, with the level that unmigrate.toml gives it."""
    rule = RULES[name]
    line, column = _position(subject.migration.sql, at or 0)
    level = config.rules.get(name, rule.level)
    return Finding(name, level, subject.migration.name, message, subject.file, line, column, rule.remedy)


def with_levels(findings: list[Finding], config: Lint) -> list[Finding]:
    """Another linter's findings, with the levels that unmigrate.toml gives them."""
    from dataclasses import replace

    given = [replace(f, level=config.rules[f.rule]) if f.rule in config.rules else f for f in findings]
    return [f for f in given if f.level != "off"]


def fails(findings: list[Finding], config: Lint) -> bool:
    """Whether something counts that nobody allowed."""
    if config.fail_on == "never":
        return False
    return any(ORDER[f.level] >= ORDER[config.fail_on] and not f.allowed for f in findings)


def _position(sql: str, offset: int) -> tuple[int, int]:
    before = sql[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
