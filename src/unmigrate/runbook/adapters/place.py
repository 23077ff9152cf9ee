"""Somewhere the app's connection string stands."""


class Place:
    """name, shown: for people, without the value; no method shows it either."""

    name: str
    shown: list[str]

    def get(self) -> str:
        """The value. Raises EnvironmentProblem where it is not there, or may not be changed."""
        raise NotImplementedError

    def put(self, text: str) -> None:
        raise NotImplementedError

    def after(self, mark: str) -> list[str]:
        """What is to be done once every place has the new value, once per mark; what was done, for people."""
        return []
