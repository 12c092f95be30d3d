"""The beginning of every plugin's command."""

from __future__ import annotations

import gc
import importlib
import signal
import sys

_SWITCH_SECONDS = 0.0002


def start(plugin: str) -> None:
    """Run a plugin's command; an interrupt ends it without a traceback also while it is loaded.

    Args:
        plugin: The module of the plugin and its class, with a dot between.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Threads that read, send or inflate need the interpreter for moments only. With Python's
    # own 5 ms, they would wait for it longer than they work.
    sys.setswitchinterval(_SWITCH_SECONDS)
    module, _, name = plugin.rpartition(".")
    # What is loaded stays: to look for garbage in it takes a tenth of the start.
    gc.disable()
    found = getattr(importlib.import_module(module), name)
    gc.freeze()
    gc.enable()
    found.cli()
