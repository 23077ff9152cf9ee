"""The same plan has the same id wherever it is made: its order must not hang on a process's hash seed."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support import write_project

COLUMNS = [f"c{n}" for n in range(8)]
SCRIPTS = [
    ("1_init", f"CREATE TABLE t (id int PRIMARY KEY, {', '.join(f'{c} int' for c in COLUMNS)}); " + "".join(f"CREATE INDEX ON t ({c});" for c in COLUMNS)),
    ("2_gone", f"ALTER TABLE t {', '.join(f'DROP COLUMN {c}' for c in COLUMNS)}; CREATE TABLE u (id int); CREATE TABLE v (id int)"),
]  # fmt: skip


def test_two_processes_make_the_same_plan(tmp_path: Path) -> None:
    project = write_project(tmp_path / "app", SCRIPTS)
    words = [sys.executable, "-m", "unmigrate", "plan", "--json", "--project", str(project), "--scratch", "embedded"]
    made = []
    for seed in ("1", "2", "3"):
        environ = {**os.environ, "PYTHONHASHSEED": seed}
        environ.pop("DATABASE_URL", None)
        plan = json.loads(subprocess.run(words, env=environ, capture_output=True, text=True).stdout)
        made.append((plan["id"], [loss["object"] for loss in plan["losses"]]))
    assert made[0] == made[1] == made[2]
