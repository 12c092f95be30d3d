"""Tests with clients of the vendors, in an environment of their own: `make test-clients`."""

from __future__ import annotations

import os

#: `make test` has none of them: their packages and this project's need not agree.
collect_ignore_glob = [] if "CLIENTS" in os.environ else ["*"]
