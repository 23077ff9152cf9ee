"""A connection string in AWS Secrets Manager, by boto3. The value before stays there as its own version too."""

import json
from typing import Any

from unmigrate.config.connection import Aws
from unmigrate.errors import EnvironmentProblem
from unmigrate.runbook.adapters.place import Place
from unmigrate.runbook.scene import Scene
from unmigrate.snapshot.aws import asked


class Secret(Place):
    """A secret, or one field of a JSON secret."""

    def __init__(self, config: Aws, scene: Scene) -> None:
        self._config = config
        field = f".{config.field}" if config.field else ""
        self.name = f"secret {config.secret_id}{field}"
        self.shown = [f"secretsmanager PutSecretValue {config.secret_id}{field} •••"]

    def get(self) -> str:
        text = self._text()
        if self._config.field is None:
            return text
        value = _parsed(text).get(self._config.field)
        if not isinstance(value, str):
            raise EnvironmentProblem(f"{self.name} does not exist", code="secret", remedy="correct connection.aws.field")
        return value

    def put(self, text: str) -> None:
        whole = text if self._config.field is None else json.dumps({**_parsed(self._text()), self._config.field: text})
        _asked(lambda client: client.put_secret_value(SecretId=self._config.secret_id, SecretString=whole), self._config)

    def _text(self) -> str:
        answer = _asked(lambda c: c.get_secret_value(SecretId=self._config.secret_id, VersionStage="AWSCURRENT"), self._config)
        return str(answer["SecretString"])


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise EnvironmentProblem("the secret is not a JSON object", code="secret", remedy="leave connection.aws.field out")
    return found


def _asked(ask: Any, config: Aws) -> Any:
    """One call. Raises EnvironmentProblem in one line, with what AWS calls the reason."""
    try:
        import boto3
        from botocore.exceptions import ClientError
    except ImportError as error:
        raise EnvironmentProblem("boto3 is not installed", code="no-boto3", remedy="pip install 'unmigrate[aws]'") from error
    try:
        with asked():
            return ask(boto3.session.Session(region_name=config.region).client("secretsmanager"))
    except ClientError as error:
        reason = error.response.get("Error", {}).get("Code", "ClientError")
        message = f"Secrets Manager refuses {config.secret_id}: {reason}"
        raise EnvironmentProblem(message, code="aws", remedy="check the secret's name, and the rights of these credentials") from None
