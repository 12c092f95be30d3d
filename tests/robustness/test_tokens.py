from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.robustness.plugins import TARGETS, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.robustness.plugins import Plugin
    from tests.sandbox.server import Sandbox

IN_FLIGHT = 3
PATHS = {"target-mona": "/export", "target-monetate": "/data/"}


@pytest.mark.parametrize("plugin", [each for each in TARGETS if each.name in PATHS], ids=str)
def test_all_tokens_revoked_twice_while_requests_are_in_flight_lose_nothing(
    plugin: Plugin, sandbox: Sandbox, folder: Path
) -> None:
    config: dict[str, Any] = {
        **plugin.settings(sandbox),
        "max_attempts": 6,
        "max_request_rows": 1,
        "parallel_requests": IN_FLIGHT,
        "request_timeout_seconds": 30,
    }
    path = PATHS[plugin.name]
    held = [
        [
            sandbox.faults.add(plugin.vendor, path, method="POST", hold=True)
            for _ in range(IN_FLIGHT)
        ]
        for _ in range(2)
    ]
    revoked: list[int] = []

    def revoke_twice() -> None:
        for faults in held:
            deadline = time.monotonic() + 20
            while not all(fault.served for fault in faults) and time.monotonic() < deadline:
                threading.Event().wait(0.005)
            revoked.append(sum(fault.served for fault in faults))
            sandbox.vendors[plugin.vendor].expire_tokens()
            for fault in faults:
                fault.release()

    revoker = threading.Thread(target=revoke_twice)
    revoker.start()
    outcome = run(plugin, config, folder)
    revoker.join()
    assert outcome.status == 0, outcome.log
    assert revoked == [IN_FLIGHT, IN_FLIGHT]
    assert plugin.delivered is not None
    assert plugin.delivered(sandbox) == 5
