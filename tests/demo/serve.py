"""Serve the sandbox for runs by hand: `make sandbox`."""

from __future__ import annotations

import os
import shlex
import signal
import sys

from tests.demo.signals import Interrupted, raise_on_signals
from tests.pipelines.meltano import ROOT, sandbox_settings
from tests.sandbox.server import Sandbox

SETTINGS = ROOT / ".demo" / "sandbox.env"
"""Addresses and credentials, as a shell script."""

PID = SETTINGS.with_suffix(".pid")
"""While the sandbox runs, `make clean` keeps these two files."""


def main() -> int:
    """Serve until a signal comes."""
    raise_on_signals()
    SETTINGS.parent.mkdir(exist_ok=True)
    try:
        with Sandbox() as sandbox:
            settings = sandbox_settings(sandbox)
            lines = [f"{name}={shlex.quote(value)}\n" for name, value in settings.items()]
            SETTINGS.write_text("".join(lines), encoding="utf-8")
            PID.write_text(str(os.getpid()), encoding="utf-8")
            print(
                f"The sandbox of the four APIs listens at {sandbox.url} until you press Ctrl-C.\n"
                "In another terminal, also for a project of your own:\n"
                f"  set -a; . {shlex.quote(str(SETTINGS))}; set +a\n"
                "Then, for a pipeline of this project:\n"
                f"  cd {shlex.quote(str(ROOT))}\n"
                "  .venv/bin/meltano run robotmia-to-mona",
                flush=True,
            )
            while True:
                signal.pause()
    except Interrupted:
        return 0
    finally:
        for path in (SETTINGS, PID):
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
