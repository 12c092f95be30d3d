"""Tests with the vendors' clients, in a separate environment: `make test-clients`."""

from __future__ import annotations

import os

#: `make test` has no such environment: the clients' packages may conflict with this project's.
collect_ignore_glob = [] if "CLIENTS" in os.environ else ["*"]
