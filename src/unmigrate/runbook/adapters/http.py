"""HTTP requests of the configuration: several in a row share cookies and captured values. Standard library only."""

import http.cookiejar
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unmigrate.config.http import Request
from unmigrate.errors import EnvironmentProblem, FailedError

_NAME = re.compile(r"\$\{(\w+)\}")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Answer:
    """status; body as text; json: None where the body is not JSON."""

    status: int
    headers: Mapping[str, str]
    text: str
    json: Any


class Client:
    """One visitor: cookies and captured values last as long as it does."""

    def __init__(self, environ: Mapping[str, str], *, headers: Mapping[str, str] | None = None) -> None:
        self._environ, self._headers = environ, dict(headers or {})
        self._jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))
        self._captured: dict[str, str] = {}

    def run(self, requests: Sequence[Request], left: float = 60.0) -> list[str]:
        """Send them in order; one line of evidence each. Raises FailedError where an answer is not as expected, else as `send`."""
        return [f"{shown(r)} → {self.send(r, left).status}" for r in requests]

    def send(self, request: Request, left: float = 60.0) -> Answer:
        """One request, its answer judged and captured from. Raises EnvironmentProblem where nothing answers, FailedError."""
        answer = self._ask(request, min(request.timeout, left))
        for problem in _problems(request, answer):
            raise FailedError(f"{shown(request)}: {problem}", code="check", remedy="")
        for name, where in request.capture.items():
            self._captured[name] = self._capture(request, answer, where)
        return answer

    def _ask(self, request: Request, timeout: float) -> Answer:
        body, kind = None, None
        if request.json is not None:
            body, kind = json.dumps(self._fill(request.json)).encode(), "application/json"
        elif request.form:
            body, kind = urllib.parse.urlencode(self._fill(request.form)).encode(), "application/x-www-form-urlencoded"
        headers = {"user-agent": "unmigrate", **self._headers, **({"content-type": kind} if kind else {}), **self._fill(request.headers)}
        url = self._fill(request.url)
        try:
            sent = urllib.request.Request(url, data=body, headers=headers, method=request.method)
            with self._opener.open(sent, timeout=max(timeout, 0.1)) as response:
                return _answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return _answer(error.code, error.headers, error.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            message = f"{shown(request)}: nothing answers ({reason(error)})"
            raise EnvironmentProblem(_NAME.sub("…", message), code="http", remedy="check that it runs, and the url") from None

    def _fill(self, value: Any) -> Any:
        """${NAME} by what was captured, or by the environment. Raises EnvironmentProblem for a name that neither has."""
        if isinstance(value, str):
            return _NAME.sub(lambda match: self._value(match[1]), value)
        if isinstance(value, dict):
            return {k: self._fill(v) for k, v in value.items()}
        return [self._fill(v) for v in value] if isinstance(value, list) else value

    def _value(self, name: str) -> str:
        value = self._captured.get(name, self._environ.get(name))
        if value is None:
            raise EnvironmentProblem(f"{name} is neither captured nor set", code="variable", remedy=f"set {name} in the environment")
        return value

    def _capture(self, request: Request, answer: Answer, where: str) -> str:
        kind, colon, name = where.partition(":")
        value: Any = _MISSING
        if colon and kind == "cookie":
            value = next((c.value for c in self._jar if c.name == name), _MISSING)
        elif colon and kind == "header":
            value = answer.headers.get(name, _MISSING)
        else:
            value = field(answer.json, where)
        if value is _MISSING or value is None:
            raise FailedError(f"{shown(request)}: the answer has no {where} to capture", code="check")
        return str(value)


def reason(error: Exception) -> str:
    """Why a request could not be made. What the operating system says; other texts may hold the URL, and what was filled into it."""
    said = getattr(error, "reason", error)
    return (
        f"{type(error).__name__}: {said}"
        if isinstance(said, OSError) and not isinstance(said, urllib.error.URLError)
        else type(error).__name__
    )


def shown(request: Request) -> str:
    """The request as people see it: names in place of their values, no query."""
    return f"{request.method} {request.url.partition('?')[0]}"


def variables(requests: Sequence[Request]) -> set[str]:
    """Names that must be in the environment: used and not captured before."""
    captured: set[str] = set()
    wanted: set[str] = set()
    for request in requests:
        wanted |= set(_NAME.findall(json.dumps([request.url, request.headers, request.json, request.form]))) - captured
        captured |= set(request.capture)
    return wanted


def field(value: Any, path: str) -> Any:
    """ "items.0.name" of a JSON value; a private object where it has none."""
    for part in path.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return _MISSING
    return value


def has(value: Any, path: str) -> bool:
    return field(value, path) is not _MISSING


def _answer(status: int, headers: Any, body: bytes) -> Answer:
    text = body.decode("utf-8", "replace")
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    return Answer(status, dict(headers.items()), text, parsed)


def _problems(request: Request, answer: Answer) -> list[str]:
    found = []
    if not (answer.status in request.status if request.status else 200 <= answer.status < 300):
        wanted = " or ".join(map(str, request.status)) or "2xx"
        found.append(f"status {answer.status}, expected {wanted}")
    for path, wanted in request.expect.items():
        value = field(answer.json, path)
        if value is _MISSING:
            found.append(f"the answer has no {path}")
        elif value != wanted:
            found.append(f"{path} is {str(value)[:80]!r}, expected {wanted!r}")
    if request.contains is not None and request.contains not in answer.text:
        found.append(f"the answer does not contain {request.contains!r}")
    return found
