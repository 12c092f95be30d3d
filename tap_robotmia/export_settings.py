"""The parsed settings of an export."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_martech.http.settings import HttpSettings
from singer_martech.values.timestamps import parse_iso

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ExportSettings:
    """The settings of the same names, parsed."""

    api_secret: str
    api_url: str
    http: HttpSettings
    project_timezone: str
    timestamps: str
    start_date: date
    end_date: date | None
    lookback_days: int
    window_days: int
    events: tuple[str, ...] | None
    where: str | None
    sample_days: int
    parallel_downloads: int
    max_malformed_lines: int
    reject_path: Path
    sanitize_text: bool

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ExportSettings:
        """Parse a validated configuration."""
        end_date = config.get("end_date")
        return cls(
            api_secret=config["api_secret"],
            api_url=config["api_url"],
            http=HttpSettings.from_config(config),
            project_timezone=config["project_timezone"],
            timestamps=config["timestamps"],
            start_date=parse_day(config["start_date"]),
            end_date=parse_day(end_date) if end_date else None,
            lookback_days=config["lookback_days"],
            window_days=config["window_days"],
            events=tuple(config["events"]) if config.get("events") else None,
            where=config.get("where"),
            sample_days=config["sample_days"],
            parallel_downloads=config["parallel_downloads"],
            max_malformed_lines=config["max_malformed_lines"],
            reject_path=Path(config["reject_path"]),
            sanitize_text=config["sanitize_text"],
        )


def parse_day(text: str) -> date:
    """Parse a date, or the date of a date-time.

    Raises:
        ValueError: The text is neither a date nor a date-time.
    """
    parse_iso(text)
    return date.fromisoformat(text.strip()[: len("yyyy-mm-dd")])
