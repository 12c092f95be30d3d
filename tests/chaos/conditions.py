"""What a run may lack, or what may go wrong in its process, drawn from a seed."""

from __future__ import annotations

import math
import resource
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.chaos.injector import ERRORS

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

#: The kinds of conditions with their weights; half of all runs have no problem but requests'.
KINDS: Mapping[str, int] = {
    "plain": 10,
    "tls": 2,
    "proxy": 2,
    "clock": 2,
    "exception": 2,
    "full disk": 1,
    "few files": 1,
    "few threads": 1,
    "little memory": 1,
}
_GATEWAY_FAULTS = 0.15
_MOST_CALLS = 200_000
_STACK_BYTES = 256 << 20
_HOUR = 3600
_MOST_REQUESTS = 20


@dataclass(frozen=True)
class Conditions:
    """The conditions of one run.

    Attributes:
        kind: One of `KINDS`.
        job: What `ForkServer.start` gets in addition.
        gateway_faults: The probability that a gateway breaks a connection.
        clock: Steps of the clock in seconds, each with the number of requests before it.
    """

    kind: str
    job: Mapping[str, Any] = field(default_factory=dict)
    gateway_faults: float = 0.0
    clock: Mapping[int, int] = field(default_factory=dict)

    @property
    def uses_gateway(self) -> bool:
        """Whether connections are encrypted."""
        return self.kind in {"tls", "proxy"}

    @property
    def may_reject(self) -> bool:
        """Whether any error may be raised for any record, which is then rejected."""
        return self.kind in {"exception", "few threads", "little memory"}

    def __str__(self) -> str:
        """Describe them, for a failed assertion."""
        details = {**self.job, **{str(after): step for after, step in self.clock.items()}}
        return f"{self.kind} {details}" if details else self.kind


def draw(chance: random.Random) -> Conditions:
    """Draw the conditions of a run."""
    (kind,) = chance.choices([*KINDS], [*KINDS.values()])
    job: dict[str, Any] = {}
    clock: dict[int, int] = {}
    if kind == "clock":
        clock = {
            chance.randint(0, _MOST_REQUESTS): chance.randint(-_HOUR, _HOUR)
            for _ in range(chance.randint(1, 3))
        }
    elif kind == "exception":
        at = round(math.exp(chance.uniform(0, math.log(_MOST_CALLS))))
        job = {"at": at, "error": chance.choice(sorted(ERRORS))}
    elif kind == "full disk":
        job = {"limits": {resource.RLIMIT_FSIZE: chance.randrange(20_000)}}
    elif kind == "few files":
        job = {"limits": {resource.RLIMIT_NOFILE: chance.randint(6, 24)}}
    elif kind == "few threads":
        most = chance.randint(0, 4) * _STACK_BYTES + _STACK_BYTES // 2
        job = {"stack": _STACK_BYTES, "memory": most}
    elif kind == "little memory":
        job = {"memory": chance.randrange(40 << 20)}
    faults = chance.choice([0, _GATEWAY_FAULTS])
    return Conditions(kind, job, faults, clock)
