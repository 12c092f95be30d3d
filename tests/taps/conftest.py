"""Tests with third-party taps, which `make test-clients` installs."""

from __future__ import annotations

import os

from tests.any_stream.conftest import connections_may_stay_open, folder, load

__all__ = ["connections_may_stay_open", "folder", "load"]

#: `make test` has no such environment: the taps' packages may conflict with this project's.
collect_ignore_glob = [] if "TAPS" in os.environ else ["*"]
