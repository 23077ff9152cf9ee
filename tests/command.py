"""The command line, in this process."""

from click.testing import CliRunner

from unmigrate.cli.main import main


def run(*words: object) -> tuple[int, str]:
    """(exit status, everything printed)."""
    texts = [str(w) for w in words]
    with CliRunner().isolation() as (out, err, _):
        status = main(texts)
        printed = out.getvalue().decode() + err.getvalue().decode()
    return status, printed


def check(status: int, code: str, *words: object) -> str:
    """What was printed, when the command ended with this status and error code, in our words."""
    got, printed = run(*words)
    assert (got, f"[{code}]" in printed) == (status, True), printed
    assert "Traceback" not in printed
    return printed
