"""ARCHITECTURE.md against the imports: rooms use what the table allows, and the table names every room."""

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "unmigrate"


def table() -> dict[str, set[str]]:
    """{room: rooms it may use}, from the table in ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| [^|]+ \| ?([^|]*?) ?\|$", text, re.MULTILINE)
    return {room: {name.strip() for name in uses.split(",") if name.strip()} for room, uses in rows if room != "room"}


def imports() -> dict[str, set[tuple[str, str]]]:
    """{room: (room used, file that uses it)}; "root" is the package itself."""
    found: dict[str, set[tuple[str, str]]] = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        room = parts[0]
        for module in imported(path.read_text(encoding="utf-8"), ("unmigrate", *parts[:-1])):
            first, *rest = module.split(".")
            if first == "unmigrate":
                used = rest[0] if rest and is_room(rest[0]) else "root"
                found.setdefault(room, set()).add((used, str(path.relative_to(ROOT))))
    return found


def imported(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """Every name that a file of `package` imports, absolutely: `from a import b` gives a.b, `from . import b` package.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *([node.module] if node.module else [])))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def is_room(name: str) -> bool:
    return (SOURCE / name).is_dir() or (SOURCE / f"{name}.py").is_file()


def test_imports_are_seen_however_they_are_written() -> None:
    source = "import unmigrate.a\nfrom unmigrate import b\nfrom unmigrate.c import d\nfrom . import e\nfrom ..f import g\nif x:\n  from .. import h"
    assert list(imported(source, ("unmigrate", "room"))) == [
        "unmigrate.a", "unmigrate.b", "unmigrate.c.d", "unmigrate.room.e", "unmigrate.f.g", "unmigrate.h",
    ]  # fmt: skip


def test_dependencies_point_one_way() -> None:
    uses = {room: others - {"everything", "root"} for room, others in table().items()}
    graphlib.TopologicalSorter(uses).prepare()  # raises CycleError
    assert not [room for room, others in uses.items() if "cli" in others]


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
    rooms = {p.name for p in SOURCE.iterdir() if p.is_dir() and p.name != "__pycache__"} | {"errors", "words"}
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


def test_large_rooms_have_a_map() -> None:
    """In their docstrings; but for those where every file is a command, or a section of unmigrate.toml, of its own name."""
    missing = []
    for room in sorted(p for p in SOURCE.iterdir() if p.is_dir() and p.name not in ("cli", "config")):
        files = {path.stem for path in room.glob("*.py")} - {"__init__"}
        if len(files) > 12:
            said = set(re.findall(r"\w+", ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""))
            missing += [f"{room.name}: {name}" for name in sorted(files - said)]
    assert not missing
