"""Tests with the real Airflow in its own environment: `make test-airflow`."""

from __future__ import annotations

import os

#: `make test` has no Airflow, whose dependencies may conflict with this project's.
collect_ignore_glob = [] if "AIRFLOW" in os.environ else ["*"]
