"""A check's outputs: each read by something that knows the format."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from markdown_it import MarkdownIt

from tests.support import migration
from unmigrate.check.base import since
from unmigrate.check.model import Report
from unmigrate.check.run import check
from unmigrate.config.lint import Lint
from unmigrate.prove.workspace import Workspace
from unmigrate.report.annotations import annotations
from unmigrate.report.junit import junit
from unmigrate.report.markdown import MOST, markdown
from unmigrate.report.sarif import sarif
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server

ONE = 'CREATE TABLE "A" ("id" INTEGER PRIMARY KEY, "a|b" TEXT, "x" TEXT);'
TWO = """-- unmigrate: allow write-without-where: few rows, <b>really</b>
ALTER TABLE "A" DROP COLUMN "a|b";

UPDATE "A" SET "x" = '<script>alert(1)</script>';
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    root = tmp_path_factory.mktemp("project")
    migrations = []
    for name, sql in (("1_one", ONE), ("2_two", TWO)):
        (root / name).mkdir()
        (root / name / "migration.sql").write_text(sql)
        migrations.append(migration(name, sql))
        object.__setattr__(migrations[-1], "folder", root / name)
    with open_server(None, extensions=frozenset(), environ=os.environ) as server, Pool(server) as pool:
        yield check(Workspace(pool), since(migrations, "1_one"), Lint(), root=root)


def test_json(report: Report) -> None:
    value = json.loads(json.dumps(report.to_json()))
    assert value["failed"] and value["migrations"][0]["schema"]["verdict"] == "column-order"
    assert value["migrations"][0]["up"] == [{"table": 'public."A"', "mode": "ACCESS EXCLUSIVE", "work": "scan"}]
    assert [pair["line"] for pair in value["migrations"][0]["statements"]] == [2, 4]


def test_sarif_is_sarif(report: Report) -> None:
    value = sarif(report)
    schema = json.loads((Path(__file__).parent / "sarif-2.1.0-subset.json").read_text())
    jsonschema.validate(value, schema)
    results = value["runs"][0]["results"]
    rules = value["runs"][0]["tool"]["driver"]["rules"]
    assert all(rules[r["ruleIndex"]]["id"] == r["ruleId"] for r in results)
    lossy = next(r for r in results if r["ruleId"] == "lossy-inverse")
    assert lossy["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "2_two/migration.sql"
    assert lossy["locations"][0]["physicalLocation"]["region"]["startLine"] == 2
    allowed = next(r for r in results if r["ruleId"] == "write-without-where")
    assert allowed["suppressions"][0]["justification"] == "few rows, <b>really</b>"


def test_annotations_are_one_line_each(report: Report) -> None:
    lines = annotations(report)
    assert all(
        re.fullmatch(r"::(error|warning|notice) title=[\w/-]+,file=2_two/migration\.sql,line=\d+,col=\d+::[^\n]+", line) for line in lines
    )
    assert not any("write-without-where" in line for line in lines)


def test_junit(report: Report) -> None:
    root = ElementTree.fromstring(junit(report))
    suite = next(s for s in root if s.get("name") == "2_two")
    failures = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failures == ["lossy-inverse", "breaks-previous-app"]
    assert (suite.get("failures"), root.get("failures")) == ("2", "2")
    assert int(suite.get("tests") or 0) == len(suite)


def test_markdown_renders(report: Report) -> None:
    text = markdown(report)
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert "<code>2_two</code>" in html and "<th>way back</th>" in html
    assert html.count("<table>") == html.count("</table>") and html.count("<details>") == html.count("</details>")
    assert "<script>" not in html and "<b>really" not in html
    assert "ADD COLUMN &quot;a|b&quot; text;" in html or 'ADD COLUMN "a|b" text;' in html


def test_markdown_fits_into_a_comment(report: Report) -> None:
    object.__setattr__(report, "examined", report.examined * 400)
    text = markdown(report)
    assert len(text) < MOST + 30_000 and "too long for a comment" in text
