"""The demonstration tells the truth it promises."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unmigrate.demo.stage import set_up


def test_the_story() -> None:
    began = time.monotonic()
    result = subprocess.run([sys.executable, "-m", "unmigrate", "demo"], capture_output=True, text=True, check=False)
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert 'does nothing: DROP TABLE IF EXISTS "RiskEntry" CASCADE' in said
    assert 'fails: DROP TYPE IF EXISTS "RiskSeverity"' in said
    assert "Rolled back 20250601120000_pm05_project_health" in said
    assert "all agree" in said
    assert "212 budgets under their old name" in said
    assert "hold the same values as before the rollback" in said
    assert "595 rows of what the epic had added are kept in the vault." in said
    assert time.monotonic() - began < 60


def test_the_stage_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://production/app")
    monkeypatch.setenv("UNMIGRATE_SCRATCH", "postgresql://production/scratch")
    environ, folder = dict(os.environ), Path.cwd()
    with set_up() as stage:
        assert "production" not in os.environ["DATABASE_URL"]
        assert "UNMIGRATE_SCRATCH" not in os.environ
        assert Path.cwd() == stage.hub.resolve()
    assert (dict(os.environ), Path.cwd()) == (environ, folder)
    assert not stage.hub.exists()
