"""Run tap-mixpanel; runs in the environment of the clients.

Its base URL is an attribute of its stream (`Export.url`), to which it adds `/export`. It checks the
access to the Engage API first, which robotmia does not have, so that check is replaced. Everything
else is the tap's own code.

`EXPORT_URL` is the base URL; the arguments are the tap's.
"""

from __future__ import annotations

import os
import sys

import tap_mixpanel  # type: ignore[import-not-found] # in a separate environment
from tap_mixpanel.client import (  # type: ignore[import-not-found]
    MixpanelClient,
)
from tap_mixpanel.streams import Export  # type: ignore[import-not-found]


def check_access(_: object) -> bool:
    """Accept the credential; the export verifies it."""
    return True


Export.url = os.environ["EXPORT_URL"]
MixpanelClient.check_access = check_access
sys.exit(tap_mixpanel.main())
