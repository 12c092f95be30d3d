"""Tests with the real Airflow, in an environment of its own: `make test-airflow`."""

from __future__ import annotations

import os

#: `make test` has no Airflow: its packages and this project's need not agree on their versions.
collect_ignore_glob = [] if "AIRFLOW" in os.environ else ["*"]
