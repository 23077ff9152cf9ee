"""unmigrate.toml: defaults, values, and errors that point at the line."""

import dataclasses
from pathlib import Path

import pytest

from unmigrate.config import Config, load
from unmigrate.errors import UsageError


def write(root: Path, text: str) -> Path:
    (root / ".git").mkdir(exist_ok=True)
    (root / "unmigrate.toml").write_text(text)
    return root


def refused(root: Path, text: str) -> tuple[str, str]:
    """(what is said after the folder, the remedy)."""
    with pytest.raises(UsageError) as caught:
        load(write(root, text))
    assert caught.value.code == "config"
    return str(caught.value).removeprefix(f"{root.resolve()}/"), caught.value.remedy


def test_no_file_means_all_defaults(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert load(tmp_path) == Config()
    assert load(tmp_path).park.retention_days == 14


def test_an_empty_file_means_all_defaults(tmp_path: Path) -> None:
    assert dataclasses.replace(load(write(tmp_path, "")), file=None) == Config()


def test_it_is_found_above_but_not_outside_the_checkout(tmp_path: Path) -> None:
    write(tmp_path, "[park]\nretention_days = 3\n")
    inner = tmp_path / "packages" / "db"
    inner.mkdir(parents=True)
    assert load(inner).park.retention_days == 3
    (inner / ".git").mkdir()
    assert load(inner).park.retention_days == 14


def test_values(tmp_path: Path) -> None:
    config = load(
        write(
            tmp_path,
            """
            [run]
            approve = ["reverse"]
            timeouts = { reverse = 5 }
            [maintenance.database]
            mode = "revoke-connect"
            keep = ["app_admin"]
            [[checks.http]]
            name = "login"
            requests = [
              { url = "http://x/login", method = "POST", json = { user = "a" }, capture = { token = "data.token" } },
              { url = "http://x/me", headers = { authorization = "Bearer ${token}" }, expect = { "user.id" = 1 } },
            ]
            """,
        )
    )
    assert config.run.timeouts == {"reverse": 5.0}
    assert config.maintenance.database is not None
    assert config.maintenance.database.keep == ("app_admin",)
    first, second = config.checks.http[0].requests
    assert (first.method, first.json, second.expect) == ("POST", {"user": "a"}, {"user.id": 1})


@pytest.mark.parametrize(
    ("text", "says", "remedy"),
    [
        ("\n[park]\nretention_days = 'x'\n", "unmigrate.toml:3: park.retention_days is 'x'", "a whole number"),
        ("[park]\nretention_days = true\n", "unmigrate.toml:2: park.retention_days is true", "a whole number"),
        ("[park]\nretention_days = -1\n", "unmigrate.toml:2: retention_days is -1", "0 or more"),
        ("[park]\n\n# a remark\nmode = 'maybe'\n", "unmigrate.toml:4: park.mode is 'maybe'", "'side-table'"),
        ("[park]\nretention_day = 1\n", "unmigrate.toml:2: retention_day is not known in [park]", "did you mean retention_days?"),
        ("[prak]\n", "unmigrate.toml:1: prak is not known as a section", "did you mean park?"),
        ("file = 'x'\n", "unmigrate.toml:1: file is not known as a section", ""),
        ("park = 1\n", "unmigrate.toml:1: park must be a section", "[park]"),
        ("[park]\nexclude = [\n 'a',\n 'b',\n 3,\n]\n", "unmigrate.toml:2: park.exclude[2] is 3", "a text"),
        ("a = 1\n[park\n", "unmigrate.toml:2: this is not TOML", ""),
        ("[connection.aws]\nregion = 'x'\n", "unmigrate.toml:1: [connection.aws] lacks secret_id", "secret_id"),
        ("[[checks.sql]]\nname='a'\nsql='b'\n[[checks.sql]]\nname='c'\n", "unmigrate.toml:4: [checks.sql[1]] lacks sql", "sql"),
        ("[[checks.sql]]\nname='a'\nsql='b'\n[[checks.sql]]\nname='a'\nsql='b'\n", "unmigrate.toml:1: two checks are named a", ""),
        ("[maintenance.kubernetes]\nworkloads = ['api']\n", "unmigrate.toml:2: 'api' is no workload", "deployment/NAME"),
        ("[[flags]]\nname = 'new'\n", "unmigrate.toml:2: nothing switches the flag new off", "off_command"),
        ("[[checks.http]]\nname='x'\nrequests=[{url='localhost'}]\n", "unmigrate.toml:3: url is 'localhost'", "http://"),
    ],
)  # fmt: skip
def test_errors_point_at_the_line_and_say_what_is_allowed(tmp_path: Path, text: str, says: str, remedy: str) -> None:
    said, way_out = refused(tmp_path, text)
    assert said.startswith(says), said
    assert remedy in way_out


def test_a_missing_key_in_a_list_points_at_its_own_entry(tmp_path: Path) -> None:
    said, _ = refused(tmp_path, "[[checks.sql]]\nname='a'\nsql='b'\n\n[[checks.sql]]\nname='c'\n")
    assert said.startswith("unmigrate.toml:5")


def test_not_utf8(tmp_path: Path) -> None:
    write(tmp_path, "")
    (tmp_path / "unmigrate.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path)


def test_sections_are_frozen() -> None:
    for each in dataclasses.fields(Config):
        value = getattr(Config(), each.name)
        if dataclasses.is_dataclass(value):
            assert type(value).__dataclass_params__.frozen  # type: ignore[attr-defined]
