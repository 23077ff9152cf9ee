"""RDS by boto3: problems told in one line, waiting with progress, and what instances and clusters each call their things."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn, Protocol

from unmigrate.config.snapshot import Rds as Config
from unmigrate.errors import EnvironmentProblem, FailedError, RefusedError, UnmigrateError
from unmigrate.snapshot.provider import At, Say

_CREDENTIALS = (
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "AuthFailure",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
)
# What boto3 raises where it has none, or where a session's time is over.
_UNHAD = ("Credential", "Token", "SSO", "Login")
_RIGHTS = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "KMSKeyNotAccessibleFault")
_BROKEN = ("failed", "incompatible-", "inaccessible-", "storage-full", "restore-error", "insufficient-capacity")
Raw = dict[str, Any]


class Api:
    """Calls of the RDS API. Raises EnvironmentProblem, RefusedError, FailedError, in one line."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._made: Any = None

    @property
    def client(self) -> Any:
        if self._made is None:
            try:
                import boto3
            except ImportError as error:
                raise EnvironmentProblem("boto3 is not installed", code="no-boto3", remedy="pip install 'unmigrate[aws]'") from error

            with asked():
                session = boto3.session.Session(region_name=self.config.region)
                self._made = session.client("rds", endpoint_url=self.config.endpoint_url)
        return self._made

    def call(self, operation: str, **arguments: Any) -> Raw:
        from botocore.exceptions import ClientError

        try:
            with asked():
                answer: Raw = getattr(self.client, operation)(**arguments)
                return answer
        except ClientError as error:
            _refused(operation, error.response.get("Error", {}))

    def pages(self, operation: str, key: str, **arguments: Any) -> list[Raw]:
        found: list[Raw] = []
        marker: dict[str, str] = {}
        while True:
            answer = self.call(operation, **arguments, **marker)
            found += answer.get(key, [])
            if not answer.get("Marker"):
                return found
            marker = {"Marker": answer["Marker"]}

    def one(self, operation: str, key: str, **arguments: Any) -> Raw | None:
        """None where AWS knows no such thing."""
        try:
            found = self.pages(operation, key, **arguments)
        except UnmigrateError as error:
            if error.code == "not-found":
                return None
            raise
        return found[0] if found else None

    def wait(self, what: str, look: Callable[[], Raw | None], say: Say, *, gone: bool = False) -> Raw:
        """Until it is available (or gone: not there any more). Raises FailedError where it never will be, EnvironmentProblem at the end."""
        end, last = time.monotonic() + self.config.wait, ""
        while True:
            found = look()
            status = str(found.get("Status") or found.get("DBInstanceStatus") or "unknown") if found else "gone"
            if found is None and gone:
                return {}
            if status == "available" and found is not None and not gone:
                return found
            if status.startswith(_BROKEN) or (found is None and not gone):
                raise FailedError(f"{what} is {status}", code="aws-status", remedy="look at its events in the RDS console, and drop it")
            percent = found.get("PercentProgress") if found else None
            told = f"{what}: {status}{f', {percent} %' if percent else ''}"
            if told != last:
                say(told)
                last = told
            if time.monotonic() > end:
                message = f"{what} is still {status} after {self.config.wait:g} s"
                raise EnvironmentProblem(message, code="timeout", remedy="the same command goes on waiting; or raise snapshot.rds.wait")
            time.sleep(self.config.poll)


def _refused(operation: str, error: Mapping[str, str]) -> NoReturn:
    code, said = error.get("Code", "ClientError"), " ".join(error.get("Message", "").split())[:200]
    name = "".join(word.capitalize() if word != "db" else "DB" for word in operation.split("_"))
    if code in _RIGHTS:
        raise EnvironmentProblem(f"{name} is not allowed ({code})", code="privilege", remedy=f"grant rds:{name} to this identity")
    if "NotFound" in code:
        raise EnvironmentProblem(f"{name}: {said or code}", code="not-found", remedy="check the names in [snapshot.rds], and the region")
    if "AlreadyExists" in code:
        raise RefusedError(f"{name}: {said or code}", code="taken", remedy="give another name; nothing is ever restored over anything")
    if "Quota" in code or "Insufficient" in code:
        raise EnvironmentProblem(f"{name}: {said or code} ({code})", code="quota", remedy="raise the quota, or drop what is of no use")
    raise FailedError(f"{name}: {said or code} ({code})", code="aws", remedy="try it with the aws command line to see why")


@contextmanager
def asked() -> Iterator[None]:
    """Calls of AWS. Raises EnvironmentProblem where credentials are missing, expired or not taken, and where AWS cannot be asked; what AWS
    refuses for other reasons is left as it is."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _CREDENTIALS:
            raise _unknown(f"AWS does not take these credentials ({code})") from None
        raise
    except (BotoCoreError, ValueError, RuntimeError) as error:  # RuntimeError: refreshed credentials that are expired still
        said = " ".join(str(error).split())[:200]
        if isinstance(error, RuntimeError) or any(word in type(error).__name__ for word in _UNHAD):
            raise _unknown(f"there are no credentials for AWS, or they have expired: {said}") from None
        raise EnvironmentProblem(f"AWS cannot be asked: {said}", code="aws", remedy="check region and network") from None


def _unknown(message: str) -> EnvironmentProblem:
    return EnvironmentProblem(message, code="credentials", remedy="log in again (aws sso login), or give new keys")


class Store(Protocol):
    """Instances, or clusters."""

    source: str

    def snapshots(self) -> list[Raw]:
        """As {"id", "arn", "status", "at", "size", "type", "tags", "PercentProgress"}."""
        ...

    def snapshot(self, name: str) -> Raw | None: ...

    def make(self, name: str, tags: list[Raw]) -> None: ...

    def keep(self, name: str, to: str, tags: list[Raw]) -> None:
        """Copy an automated one into one that AWS does not prune."""
        ...

    def drop(self, name: str) -> None: ...

    def find(self, name: str) -> Raw | None:
        """An instance or cluster, with "Status"."""
        ...

    def restore(self, at: At, to: str, tags: list[Raw]) -> None: ...

    def settle(self, to: str, tags: list[Raw], say: Say) -> Raw:
        """Do what is left after restoring, until it can be connected to; its description."""
        ...

    def discard(self, to: str, say: Say) -> None: ...

    def shown(self, at: At, to: str, tags: list[Raw]) -> tuple[str, ...]:
        """What `restore` and `settle` call, as the aws command line takes it."""
        ...


def listed(operation: str, arguments: Mapping[str, Any]) -> str:
    """A call as the aws command line takes it."""
    import json
    import shlex

    from botocore import xform_name

    words = [f"aws rds {operation.replace('_', '-')}"]
    for name, value in arguments.items():
        flag = xform_name(name, "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, datetime):
            words.append(f"--{flag} {value.isoformat()}")
        elif isinstance(value, Mapping):
            words.append(f"--{flag} {shlex.quote(json.dumps(value))}")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            each = [f"Key={v['Key']},Value={v['Value']}" if name == "Tags" else v if isinstance(v, str) else json.dumps(v) for v in value]
            words += [f"--{flag} {shlex.join(each)}"] if each else []
        else:
            words.append(f"--{flag} {shlex.quote(str(value))}")
    return " ".join(words)
