"""JUnit XML of a check: one suite per migration, one case per rule that was asked, failures where something counts."""

import re
from xml.etree import ElementTree

from unmigrate.check.model import Examined, Report
from unmigrate.config.lint import Level
from unmigrate.lint.model import Finding
from unmigrate.lint.rules import RULES
from unmigrate.lint.run import ORDER

_UNPRINTABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report, fail_on: Level = "error") -> str:
    """The XML text. Findings below `fail_on`, and allowed ones, are told in system-out."""
    root = ElementTree.Element("testsuites", name="unmigrate check")
    _suite(root, "history", list(report.history), fail_on)
    for each in report.examined:
        _suite(root, each.name, list(each.findings), fail_on, each)
    for name in report.unexamined:
        suite = ElementTree.SubElement(root, "testsuite", name=name, tests="1", failures="0", errors="1", skipped="0")
        case = ElementTree.SubElement(suite, "testcase", classname=name, name="examined")
        ElementTree.SubElement(case, "error", message="not examined: a migration before it does not replay")
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _suite(root: ElementTree.Element, name: str, findings: list[Finding], fail_on: Level, examined: Examined | None = None) -> None:
    rules = dict.fromkeys([*(RULES if examined else ()), *(f.rule for f in findings)])
    suite = ElementTree.SubElement(root, "testsuite", name=name, tests=str(len(rules)), errors="0", skipped="0")
    failures = 0
    for rule in rules:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=rule)
        mine = [f for f in findings if f.rule == rule]
        counting = [f for f in mine if ORDER[f.level] >= ORDER[fail_on] and not f.allowed]
        if counting:
            failures += 1
            failure = ElementTree.SubElement(case, "failure", message=_clean(counting[0].message), type=counting[0].level)
            failure.text = "\n".join(_told(f) for f in counting)
        if rest := [f for f in mine if f not in counting]:
            ElementTree.SubElement(case, "system-out").text = "\n".join(_told(f) for f in rest)
    suite.set("failures", str(failures))


def _told(finding: Finding) -> str:
    where = f"{finding.file}:{finding.line}: " if finding.file else ""
    allowed = f" (allowed: {finding.allowed})" if finding.allowed else ""
    return _clean(f"{where}{finding.level}: {finding.message}{allowed}" + (f"\n  {finding.help}" if finding.help else ""))


def _clean(text: str) -> str:
    """Without what XML 1.0 cannot hold."""
    return _UNPRINTABLE.sub("\ufffd", text)
