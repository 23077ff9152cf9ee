"""The page of an audit, looked at in a real browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import migration
from unmigrate.prove.audit import audit
from unmigrate.prove.workspace import Workspace
from unmigrate.report.html import html
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server

HISTORY = [
    ("20240101_init", 'CREATE TABLE "User" ("id" INTEGER PRIMARY KEY, "nick" TEXT);'),
    ("20240102_add", 'ALTER TABLE "User" ADD COLUMN "age" INTEGER;\n\nCREATE INDEX "User_age_idx" ON "User"("age");'),
    ("20240103_drop", 'ALTER TABLE "User" DROP COLUMN "nick";'),
    ("20240104_nasty", """COMMENT ON TABLE "User" IS '</pre></script><script>document.title = "broken"</script><img src=x onerror=alert(1)>';"""),
    ("20240105_bad", "DROP TABLE nowhere;"),
    ("20240106_never", 'ALTER TABLE "User" ADD COLUMN "late" TEXT;'),
]  # fmt: skip


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with open_server(None, extensions=frozenset(), environ=os.environ) as server, Pool(server) as pool:
        entries = list(audit(Workspace(pool), [migration(*each) for each in HISTORY], rows=True, beside=True))
        report = {"server": {"label": server.label}, "left_out": [], "migrations": [e.report for e in entries]}
    path = tmp_path_factory.mktemp("page") / "audit.html"
    path.write_text(html(report, "prisma/migrations"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with api.sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"no Chromium (apt install chromium, or playwright install chromium): {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, page_file: Path) -> Iterator[Any]:
    """The page, in a browser that must load nothing else and say nothing on its console."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    opened = context.new_page()
    requested: list[str] = []
    said: list[str] = []
    opened.on("request", lambda request: requested.append(request.url))
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(page_file.as_uri())
    yield opened
    assert [url for url in requested if not url.startswith(page_file.as_uri())] == []
    assert said == []
    context.close()


def shown(page: Any) -> list[str]:
    return [each.inner_text() for each in page.locator("details.migration:visible .name").all()]


def test_it_shows_every_migration_and_what_undoes_it(page: Any) -> None:
    assert shown(page) == [name for name, _ in HISTORY]
    assert page.title() == "prisma/migrations: the way back"
    add = page.locator("details.migration", has_text="20240102_add")
    add.locator("summary").click()
    cells = [cell.inner_text() for cell in add.locator("td").all()]
    assert cells == [
        'ALTER TABLE "User" ADD COLUMN "age" INTEGER;', 'ALTER TABLE public."User" DROP COLUMN age;',
        'CREATE INDEX "User_age_idx" ON "User"("age");', 'DROP INDEX public."User_age_idx";',
    ]  # fmt: skip
    assert add.locator("td").first.bounding_box()["width"] > 300
    drop = page.locator("details.migration", has_text="20240103_drop")
    drop.locator("summary").click()
    assert 'public."User".nick: the migration dropped the column' in drop.inner_text()
    assert "not reached" in page.locator("details.migration", has_text="20240106_never").text_content()


def test_search_and_filter(page: Any) -> None:
    page.locator("#q").fill("INDEX age")
    assert shown(page) == ["20240102_add"]
    assert page.locator("#count").inner_text() == "1 of 6"
    assert page.evaluate("location.hash") == "#q=INDEX+age"
    page.locator("#q").fill("no such thing")
    assert shown(page) == [] and page.locator("#none").is_visible()
    page.locator("#q").fill("")
    page.locator("#verdict").select_option("lossy")
    assert shown(page) == ["20240103_drop"]
    page.locator("#open").click()
    assert page.locator("details.migration[open]").count() == 1


def test_an_address_leads_to_a_search_or_a_migration(browser: Any, page_file: Path) -> None:
    opened = browser.new_page()
    opened.goto(f"{page_file.as_uri()}#q=comment&verdict=lossless")
    assert shown(opened) == ["20240104_nasty"]
    opened.goto("about:blank")
    opened.goto(f"{page_file.as_uri()}#20240103_drop")
    assert opened.locator("details.migration[open] .name").inner_text() == "20240103_drop"
    opened.close()


def test_nothing_in_a_migration_becomes_markup(page: Any) -> None:
    nasty = page.locator("details.migration", has_text="20240104_nasty")
    nasty.locator("summary").click()
    assert "<img src=x onerror=alert(1)>" in nasty.inner_text()
    assert page.locator("img").count() == 0 and page.locator("script").count() == 1


def test_it_is_readable_on_a_narrow_screen(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.locator("#open").click()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
