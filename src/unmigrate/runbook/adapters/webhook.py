"""Telling people: a webhook with Slack's payload. Its URL is a secret and is never shown."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import client as http_client

from unmigrate.errors import EnvironmentProblem
from unmigrate.runbook.adapters.http import reason


def url(variable: str, environ: Mapping[str, str]) -> str:
    found = environ.get(variable)
    if not found:
        raise EnvironmentProblem(f"announce.webhook_env names {variable}, which is not set", code="webhook", remedy=f"set {variable}")
    if not found.startswith(("http://", "https://")):
        raise EnvironmentProblem(f"{variable} is no URL", code="webhook", remedy="it must begin with https://")
    return found


def post(address: str, text: str, key: str, timeout: float) -> int:
    """The status. `key` goes along as Idempotency-Key. Raises EnvironmentProblem where it is not taken."""
    body = json.dumps({"text": text, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]}).encode()
    headers = {"content-type": "application/json", "idempotency-key": key, "user-agent": "unmigrate"}
    try:
        request = urllib.request.Request(address, data=body, headers=headers, method="POST")
        with urllib.request.urlopen(request, timeout=max(timeout, 0.1)) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        raise EnvironmentProblem(f"the webhook answers {error.code}", code="webhook", remedy="check the webhook's URL") from None
    except (OSError, ValueError, http_client.HTTPException) as error:
        message = f"the webhook does not answer ({reason(error)})"
        raise EnvironmentProblem(message, code="webhook", remedy="check the webhook's URL") from None
