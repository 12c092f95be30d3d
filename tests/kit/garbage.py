"""Garbage that tests leave in the process, such as idle connections."""

from __future__ import annotations

import gc
import warnings


def collect_garbage() -> None:
    """Finalize it now, so that no later test reports it or is disturbed by it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
