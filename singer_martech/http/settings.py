"""Timeouts and retry limits of a client."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class HttpSettings:
    """Timeouts and retry limits; the settings of the same names."""

    request_timeout_seconds: float = 60
    max_attempts: int = 6
    max_rate_limit_wait_seconds: float = 3900
    user_agent: str = field(default_factory=lambda: f"singer-martech/{version('singer-martech')}")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> HttpSettings:
        """Read them from the validated configuration of a plugin."""
        names = cls.__dataclass_fields__
        return cls(**{name: config[name] for name in names if config.get(name) is not None})
