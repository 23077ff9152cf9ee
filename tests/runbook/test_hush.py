"""What libraries say of what goes wrong holds URLs, and what was filled into them: none of it is shown."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from unmigrate.config.http import Request
from unmigrate.errors import EnvironmentProblem
from unmigrate.runbook.adapters import command, http, webhook

SECRET = "s3cret-t0ken"


@pytest.mark.parametrize("address", [f"http://127.0.0.1:1/{SECRET} x", f"http://127.0.0.1:1/{SECRET}", f"http://[{SECRET}/"])
def test_a_webhook_that_cannot_be_reached(address: str) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        webhook.post(address, "text", "key", 1)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", ["${TOKEN}://x", "http://127.0.0.1:1/${TOKEN} x", "http://127.0.0.1:1/?t=${TOKEN}", "http://[${TOKEN}/"])
def test_a_request_that_cannot_be_sent(url: str) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        http.Client({"TOKEN": SECRET}).send(Request(url), 1)
    assert SECRET not in str(caught.value)


def test_a_header_that_cannot_be_sent() -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        http.Client({"TOKEN": f"{SECRET}\n"}).send(Request("http://127.0.0.1:1/", headers={"authorization": "Bearer ${TOKEN}"}), 1)
    assert SECRET not in str(caught.value)


def test_a_secret_at_the_cut_of_an_output_is_masked_whole() -> None:
    said = command.tail(SECRET + "x" * (command._KEPT - 5), (SECRET,))
    assert "t0ken" not in said


def test_a_command_whose_children_keep_its_pipes_ends_with_its_time(tmp_path: Path) -> None:
    """Its child left the group, and so is not ended with it."""
    text = f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 30' & wait"
    with pytest.raises(EnvironmentProblem, match="took longer"):
        command.run(text, cwd=tmp_path, environ={"PATH": "/usr/bin:/bin"}, seconds=0.5)
    import os
    import signal

    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)  # it is there still: nobody waited for it


def test_names_that_are_short_are_no_secrets() -> None:
    from unmigrate.runbook.scene import Scene

    keep = SimpleNamespace(values=lambda: ("postgresql://u:pw@h/db", "begun", "postgresql://u:longer%21@h/db"))
    config = SimpleNamespace(announce=SimpleNamespace(webhook_env=None))
    found = Scene.secrets(SimpleNamespace(keep=keep, config=config, environ={}))  # type: ignore[arg-type]
    assert "pw" not in found
    assert {"longer%21", "longer!", "postgresql://u:pw@h/db"} <= set(found)
