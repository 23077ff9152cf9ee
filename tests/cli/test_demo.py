"""The demonstration tells the truth it promises."""

import subprocess
import sys


def test_the_story() -> None:
    result = subprocess.run([sys.executable, "-m", "unmigrate", "demo"], capture_output=True, text=True, check=False)
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert 'does nothing: DROP TABLE IF EXISTS "RiskEntry" CASCADE' in said
    assert 'fails: DROP TYPE IF EXISTS "RiskSeverity"' in said
    assert "Rolled back 20250601120000_pm05_project_health" in said
    assert "200 budgets under their old name: nothing was lost." in said
