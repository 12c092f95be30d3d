"""One part of a back-fill, as a scheduler is told of it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import msgspec

from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from zoneinfo import ZoneInfo

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_OUTSIDE_OF_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")

RUN_FOLDERS = ".meltano/shards"
"""Below it each shard has its MELTANO_SYS_DIR_ROOT; of the project's folder."""


@dataclass(frozen=True)
class Shard:
    """A `meltano run` that takes a part of what there is.

    Attributes:
        name: What it takes, for people; also the suffix of its state.
        state_id: Where Meltano keeps its state.
        job_state_id: Where the state of the job is that goes on after the back-fill.
        environment: The environment variables that make the run take only this part.
        command: The run.
        first_day, last_day: The days it takes, both inclusive; None for a shard of streams.
        time_zone: The IANA zone of these days.
        until: The instant that its bookmarks reach when all is done, RFC 3339.
        streams: The streams it takes; none for a shard of days, which takes all.
    """

    name: str
    state_id: str
    job_state_id: str
    environment: dict[str, str]
    command: list[str]
    first_day: date | None = None
    last_day: date | None = None
    time_zone: str | None = None
    until: str | None = None
    streams: tuple[str, ...] = ()

    def line(self) -> str:
        """Return it as a line of JSON."""
        known = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        return json.dumps(known, default=date.isoformat)


@dataclass(frozen=True)
class Job:
    """The pipeline that is back-filled.

    Attributes:
        tap: The name of the extractor.
        target: The name of the loader.
        environment: The Meltano environment, which is part of the ids of states.
        name: The name of the back-fill. Another name is another back-fill, from the start.

    Raises:
        MartechError: A name is none that Meltano could know.
    """

    tap: str
    target: str
    environment: str
    name: str = "back-fill"

    def __post_init__(self) -> None:
        """Refuse what would become an option or another command."""
        for name in (self.tap, self.target, self.environment):
            if not _NAME.fullmatch(name):
                raise MartechError(f"'{name}' is no name of a plugin or an environment")

    @property
    def state_id(self) -> str:
        """Where Meltano keeps the state of the job itself."""
        return f"{self.environment}:{self.tap}-to-{self.target}"

    def setting(self, name: str) -> str:
        """Return the environment variable of a setting of the tap."""
        return f"{self.tap}_{name}".replace("-", "_").upper()

    def shard(self, part: str, environment: dict[str, str], **label: Any) -> Shard:
        """Return the shard of a part, whose name tells what it takes.

        The boundaries are in the name, and the name is in the state id: a plan that was cut in
        another way never finds the states of this one.
        """
        name = file_name(f"{self.name}-{part}")
        return Shard(
            name=name,
            state_id=f"{self.state_id}:{name}",
            job_state_id=self.state_id,
            environment={
                "MELTANO_ENVIRONMENT": self.environment,
                "MELTANO_RUN_STATE_ID_SUFFIX": name,
                "MELTANO_SYS_DIR_ROOT": f"{RUN_FOLDERS}/{name}",
                **environment,
            },
            # A scheduler starts a shard again when its run is dead. Meltano alone would not
            # believe that for five minutes.
            command=["meltano", "run", "--force", self.tap, self.target],
            **label,
        )


def read_shards(lines: Iterable[str | bytes]) -> list[Shard]:
    """Return the shards of a plan, as ``line`` wrote them.

    Raises:
        MartechError: A line is no shard, or there is none.
    """
    try:
        shards = [msgspec.json.decode(line, type=Shard) for line in lines if line.strip()]
    except msgspec.DecodeError as error:
        raise MartechError(f"a line of the plan is no shard: {error}") from None
    if not shards:
        raise MartechError("the plan holds no shard")
    return shards


def file_name(text: str) -> str:
    """Return a text as a name for a folder and for a state, which takes no colon."""
    return _OUTSIDE_OF_A_NAME.sub("-", text).strip("-.")


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant after a day, in UTC."""
    after = day + timedelta(days=1)
    return datetime(after.year, after.month, after.day, tzinfo=zone).astimezone(timezone.utc)


def instant_text(instant: datetime) -> str:
    """Return an instant in the form of a bookmark."""
    return instant.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
