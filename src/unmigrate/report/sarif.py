"""SARIF 2.1.0 of a check, as code scanning services read it."""

import hashlib
from typing import Any

from unmigrate import __version__
from unmigrate.check.model import Report
from unmigrate.lint.model import Finding
from unmigrate.lint.rules import RULES
from unmigrate.lint.squawk import PREFIX
from unmigrate.report.links import page

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(report: Report) -> dict[str, Any]:
    """One run with all findings; allowed ones are there as suppressed."""
    names = sorted({f.rule for f in report.findings})
    places = {name: number for number, name in enumerate(names)}
    driver = {
        "name": "unmigrate",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(name) for name in names],
    }
    results = [_result(f, places[f.rule]) for f in report.findings]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def _rule(name: str) -> dict[str, Any]:
    rule = RULES.get(name)
    if rule is None:
        return {"id": name, "shortDescription": {"text": f"squawk: {name.removeprefix(PREFIX)}"}, "helpUri": page(name)}
    return {
        "id": name,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.remedy, "markdown": f"{rule.why}\n\n**What to do:** {rule.remedy}"},
        "defaultConfiguration": {"level": "none" if rule.level == "off" else rule.level},
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    text = f"{finding.message}\n{finding.help}" if finding.help else finding.message
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": "none" if finding.level == "off" else finding.level,
        "message": {"text": text},
        "partialFingerprints": {"unmigrate/v1": _fingerprint(finding)},
    }
    if finding.file:
        region = {"startLine": finding.line, "startColumn": finding.column}
        result["locations"] = [{"physicalLocation": {"artifactLocation": {"uri": _uri(finding.file)}, "region": region}}]
    if finding.allowed:
        result["suppressions"] = [{"kind": "inSource", "status": "accepted", "justification": finding.allowed}]
    return result


def _uri(path: str) -> str:
    from urllib.parse import quote

    return f"file://{quote(path)}" if path.startswith("/") else quote(path)


def _fingerprint(finding: Finding) -> str:
    """The same finding has the same one after lines were inserted above it."""
    return hashlib.sha256(f"{finding.rule}\0{finding.migration}\0{finding.message}".encode()).hexdigest()[:32]
