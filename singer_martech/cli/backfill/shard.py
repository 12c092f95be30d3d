"""One part of a back-fill, in the form of a line of the plan."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec

from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_OUTSIDE_OF_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")

RUN_FOLDERS = ".meltano/shards"
"""Parent of each shard's MELTANO_SYS_DIR_ROOT, below the project's folder."""


@dataclass(frozen=True)
class Shard:
    """A `meltano run` of a part of the back-fill.

    Attributes:
        name: Its name, with the part in it; also the suffix of its state id.
        state_id: Id of its state.
        job_state_id: Id of the state of the job that continues after the back-fill.
        environment: The environment variables that select this part.
        command: The command of the run.
        first_day, last_day: Its days, both inclusive; None for a shard of streams.
        time_zone: The IANA zone of these days.
        until: The bookmark of a complete shard, RFC 3339.
        streams: Its streams; empty for a shard of days, which has all.
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
        name: The name of the back-fill. A new name starts a new one.

    Raises:
        MartechError: A name is not valid in Meltano.
    """

    tap: str
    target: str
    environment: str
    name: str = "back-fill"

    def __post_init__(self) -> None:
        """Reject names that would become options or other commands."""
        for name in (self.tap, self.target, self.environment):
            if not _NAME.fullmatch(name):
                raise MartechError(f"'{name}' is not the name of a plugin or an environment")

    @property
    def state_id(self) -> str:
        """Id of the state of the job itself."""
        return f"{self.environment}:{self.tap}-to-{self.target}"

    def setting(self, name: str) -> str:
        """Return the environment variable of a setting of the tap."""
        return f"{self.tap}_{name}".replace("-", "_").upper()

    def shard(self, part: str, environment: dict[str, str], **attributes: Any) -> Shard:
        """Return the shard of a part.

        The boundaries are in the name, and the name is in the state id: a plan with other
        boundaries never finds the states of this one.
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
            # --force: after a run was killed, Meltano would refuse a retry for five minutes
            command=["meltano", "run", "--force", self.tap, self.target],
            **attributes,
        )


def read_shards(lines: Iterable[str | bytes]) -> list[Shard]:
    """Return the shards of a plan, as ``line`` wrote them.

    Raises:
        MartechError: A line is not a shard, or there is none.
    """
    try:
        shards = [msgspec.json.decode(line, type=Shard) for line in lines if line.strip()]
    except msgspec.DecodeError as error:
        raise MartechError(f"a line of the plan is not a shard: {error}") from None
    if not shards:
        raise MartechError("the plan holds no shard")
    return shards


def file_name(text: str) -> str:
    """Return a text as a name for a folder and a state id, without colons."""
    return _OUTSIDE_OF_A_NAME.sub("-", text).strip("-.")
