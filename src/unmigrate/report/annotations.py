"""Workflow commands of GitHub Actions: findings beside the lines of the pull request."""

from unmigrate.check.model import Report
from unmigrate.lint.model import Finding

_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def annotations(report: Report) -> list[str]:
    """One line per finding that nobody allowed. GitHub shows the first ten of a kind per step."""
    return [_line(f) for f in report.findings if not f.allowed]


def _line(finding: Finding) -> str:
    properties = {"title": finding.rule}
    if finding.file:
        properties |= {"file": finding.file, "line": str(finding.line), "col": str(finding.column)}
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    message = f"{finding.message.rstrip('.')}. {finding.help}" if finding.help else finding.message
    return f"::{_COMMANDS[finding.level]} {listed}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
