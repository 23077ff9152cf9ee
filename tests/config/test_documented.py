"""docs/configuration.md: every example is valid, and every key of the sections it tells about stands there."""

import dataclasses
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any

import pytest

from unmigrate.config import Config, load

TEXT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0])
def test_examples_are_valid(block: str, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "unmigrate.toml").write_text(block)
    assert load(tmp_path) != Config()


def classes(hint: Any) -> Iterator[Any]:
    if dataclasses.is_dataclass(hint):
        yield hint
        for each in typing.get_type_hints(hint).values():
            yield from classes(each)
    elif typing.get_origin(hint) in (typing.Union, UnionType, tuple, dict):
        for each in typing.get_args(hint):
            yield from classes(each)


@pytest.mark.parametrize("section", ["run", "announce", "flags", "maintenance", "connection", "app", "checks"])
def test_every_key_is_told(section: str) -> None:
    hint = typing.get_type_hints(Config)[section]
    missing = [f"{c.__module__}.{f.name}" for c in classes(hint) for f in dataclasses.fields(c) if not re.search(rf"\b{f.name}\b", TEXT)]
    assert not missing
