"""ARCHITECTURE.md against the imports: rooms use what the table allows, and the table names every room."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "unmigrate"


def table() -> dict[str, set[str]]:
    """{room: rooms it may use}, from the table in ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| [^|]+ \| ?([^|]*?) ?\|$", text, re.MULTILINE)
    return {room: {name.strip() for name in uses.split(",") if name.strip()} for room, uses in rows if room != "room"}


def imports() -> dict[str, set[tuple[str, str]]]:
    """{room: (room used, file that uses it)}."""
    found: dict[str, set[tuple[str, str]]] = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).parts
        room = parts[0] if len(parts) > 1 else path.stem
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                if module.split(".")[0] == "unmigrate":
                    used = module.split(".")[1] if "." in module else "root"
                    found.setdefault(room, set()).add((used, str(path.relative_to(ROOT))))
    return found


def test_rooms_use_what_they_may() -> None:
    allowed = table()
    wrong = [
        f"{file}: {room} may not use {used}"
        for room, uses in imports().items()
        if room not in ("__main__", "__init__") and "everything" not in allowed.get(room, set())
        for used, file in uses
        if used != room and used not in allowed.get(room, set())
    ]
    assert not wrong, "\n".join(wrong)


def test_every_room_stands_in_the_table() -> None:
    rooms = {p.name for p in SOURCE.iterdir() if p.is_dir() and p.name != "__pycache__"} | {"errors"}
    assert rooms == table().keys()


def test_nothing_is_allowed_that_nobody_uses() -> None:
    used = imports()
    idle = [
        f"{room} → {other}"
        for room, uses in table().items()
        if "everything" not in uses
        for other in uses
        if other not in {u for u, _ in used.get(room, set())}
    ]
    assert not idle
