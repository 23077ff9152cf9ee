"""The one error tree. Each error is one line for a person, with a code, an exit status and a remedy.

UnmigrateError
 ├── UsageError           2  the command was asked for something that cannot be meant
 ├── RefusedError         3  refused for safety: nothing was changed
 ├── EnvironmentProblem   4  a server, a file or a privilege is missing: nothing was changed
 ├── FailedError          5  it failed and was rolled back
 └── PartialError         6  partly done; a rerun finishes it
"""


class UnmigrateError(Exception):
    """Base of all errors this package raises on purpose.

    code: a stable word for programs ("not-a-project"); exit_status: see the tree above; remedy: what to do next.
    """

    exit_status = 5

    def __init__(self, message: str, *, code: str, remedy: str = "") -> None:
        super().__init__(" ".join(message.split()))
        self.code = code
        self.remedy = remedy


class UsageError(UnmigrateError):
    exit_status = 2


class RefusedError(UnmigrateError):
    exit_status = 3


class EnvironmentProblem(UnmigrateError):
    exit_status = 4


class FailedError(UnmigrateError):
    exit_status = 5


class PartialError(UnmigrateError):
    exit_status = 6
