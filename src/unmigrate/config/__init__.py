"""unmigrate.toml: what the team has decided beforehand."""

from unmigrate.config.load import FILE, Config, find, load

__all__ = ["FILE", "Config", "find", "load"]
