"""Tests with taps made by others, which `make test-clients` installs."""

from __future__ import annotations

import os

from tests.any_stream.conftest import connections_may_stay_open, folder, load

__all__ = ["connections_may_stay_open", "folder", "load"]

#: `make test` has none of them: their packages and this project's need not agree.
collect_ignore_glob = [] if "TAPS" in os.environ else ["*"]
