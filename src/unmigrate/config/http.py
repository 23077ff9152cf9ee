"""What the sections share: one HTTP request, one command."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `${NAME}` in url, headers and body stands for a captured value, or else an environment variable.

    json: the body; status: the statuses that are right, any 2xx without; expect: {path: value} of JSON fields in the answer, as
    "user.id" or "items.0.name"; capture: {name: path} or {name: "cookie:NAME"} or {name: "header:NAME"} for later requests.
    """

    url: str
    method: Method = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    json: Any = None
    form: dict[str, str] = field(default_factory=dict)
    status: tuple[int, ...] = ()
    expect: dict[str, Any] = field(default_factory=dict)
    contains: str | None = None
    capture: dict[str, str] = field(default_factory=dict)
    timeout: float = 10.0

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if not self.url.startswith(("http://", "https://", "${")):
            yield "url", f"url is {self.url!r}", "give one that begins with http:// or https://"
        if self.json is not None and self.form:
            yield "form", "json and form cannot both be the body", "give one of them"
