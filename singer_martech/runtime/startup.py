"""The entry point of every plugin's command."""

from __future__ import annotations

import gc
import importlib
import signal
import sys

_SWITCH_SECONDS = 0.0002


def start(plugin: str) -> None:
    """Run a plugin's command; an interrupt ends it without a traceback also while it is loaded.

    Args:
        plugin: The dotted path of the plugin's class.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Threads that read, send or decompress need the interpreter only briefly. With Python's
    # default of 5 ms, they would wait for it longer than they work.
    sys.setswitchinterval(_SWITCH_SECONDS)
    module, _, name = plugin.rpartition(".")
    # Modules are never garbage; looking for garbage would take a tenth of the startup.
    gc.disable()
    found = getattr(importlib.import_module(module), name)
    gc.freeze()
    gc.enable()
    found.cli()
