"""Random faults of requests, drawn from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from tests.sandbox.faults import FaultPlan

#: The request timeout of the plugins in seconds; silence may last longer.
REQUEST_TIMEOUT_SECONDS = 1.0

_SOON = 0.05

#: The faults of any request, each with its minimum probability.
ANY_REQUEST: Sequence[tuple[float, dict[str, Any]]] = (
    (0.030, {"status": 429, "retry_after": _SOON}),
    (0.004, {"status": 429}),
    (0.020, {"status": 503, "retry_after": _SOON}),
    (0.010, {"status": 500, "retry_after": _SOON, "after_acting": True}),
    (0.008, {"status": 502, "body": "<html><h1>Bad Gateway</h1></html>"}),
    (0.005, {"status": 408, "retry_after": _SOON}),
    (0.012, {"reset": "before"}),
    (0.012, {"reset": "after"}),
    (0.012, {"reset": "mid-body"}),
    (0.060, {"delay": 0.06}),
    (0.010, {"delay": 0.3}),
)

#: Silence after the server acted, for longer than the timeout.
TOO_SLOW: dict[str, Any] = {"stall": REQUEST_TIMEOUT_SECONDS + 0.5, "times": 1}

#: The faults of a body that is read.
BODIES: Sequence[tuple[float, dict[str, Any]]] = (
    (0.03, {"truncate": True}),
    (0.03, {"cut_gzip": True}),
    (0.02, {"cut_gzip": 8}),
)


def plan_faults(
    faults: FaultPlan,
    vendor: str,
    chance: random.Random,
    *more: tuple[float, dict[str, Any]],
) -> None:
    """Plan the faults of one run; the probabilities differ from run to run."""
    faults.clear()
    strength = chance.choice([0.4, 1.0, 1.0, 2.0])
    odds = [*more, *ANY_REQUEST]
    chance.shuffle(odds)
    for probability, fault in odds:
        words = {"times": None, **fault, "probability": min(1.0, probability * strength)}
        faults.add(vendor, **words)
    if chance.random() < 0.3:
        faults.add(vendor, after=chance.randrange(40), **TOO_SLOW)
