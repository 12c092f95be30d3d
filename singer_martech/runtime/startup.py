"""The entry point of every plugin's command."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import importlib
import signal
import sys

_SWITCH_SECONDS = 0.002
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MAX_FREE_BYTES = 16 * 1024 * 1024
_PIPE_BYTES = 1024 * 1024
"""The most that Linux allows by default."""


def start(plugin: str) -> None:
    """Run a plugin's command; an interrupt ends it without a traceback also while it is loaded."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Threads that read, send or decompress need the interpreter only briefly. With Python's
    # default of 5 ms, a sender would wait for it longer than it works. Less than this costs a tap
    # a seventh of its CPU time, for the changes between its threads.
    sys.setswitchinterval(_SWITCH_SECONDS)
    module, _, name = plugin.rpartition(".")
    _keep_freed_memory()
    _enlarge_pipes()
    # Modules are never garbage; looking for garbage would take a tenth of the startup.
    gc.disable()
    found = getattr(importlib.import_module(module), name)
    gc.freeze()
    gc.enable()
    found.cli()


def _keep_freed_memory() -> None:
    """Let the C library reuse freed blocks of a few megabytes.

    By default, glibc returns them to the system, which clears each page again when it is needed:
    up to a quarter of a tap's time, depending on the order of its blocks. Other C libraries have
    no ``mallopt``.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _MAX_FREE_BYTES // 2)
    mallopt(_M_TRIM_THRESHOLD, _MAX_FREE_BYTES)


def _enlarge_pipes() -> None:
    """Let the pipes of standard input and output hold more, where the system allows it.

    Linux gives a pipe 64 KB, some 70 events. The program at its other end, such as Meltano, would
    wait and wake so often that it takes twice the CPU time per line.
    """
    if sys.platform == "linux":
        for descriptor in (0, 1):
            with contextlib.suppress(OSError):  # it is no pipe, or the user has too many
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
