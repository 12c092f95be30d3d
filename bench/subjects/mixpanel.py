"""Run tap-mixpanel, which uses the same wire format, against the local server.

Its base URL is fixed in its code, so requests are redirected when they are sent.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import requests
import tap_mixpanel  # type: ignore[import-not-found] # in an environment of its own

LOCAL = os.environ["BENCH_SERVER"]
VENDOR = ("https://data.mixpanel.com", "https://mixpanel.com")
send = requests.Session.request


def request(session: requests.Session, method: str, url: str, **options: Any) -> Any:
    """Send requests for the vendor to the local server."""
    for vendor in VENDOR:
        url = url.replace(vendor, f"{LOCAL}/mixpanel")
    return send(session, method, url, **options)


requests.Session.request = request  # type: ignore[assignment, method-assign]
sys.exit(tap_mixpanel.main())
