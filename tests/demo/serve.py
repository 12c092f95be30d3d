"""Serve the sandbox for runs by hand: `make sandbox`."""

from __future__ import annotations

import shlex
import signal
import sys

from tests.demo.signals import Interrupted, raise_at_signals
from tests.pipelines.meltano import ROOT, sandbox_settings
from tests.sandbox.server import Sandbox

#: Addresses and credentials, in the form that a shell reads.
SETTINGS = ROOT / ".demo" / "sandbox.env"


def main() -> int:
    """Serve until a signal comes."""
    raise_at_signals()
    SETTINGS.parent.mkdir(exist_ok=True)
    try:
        with Sandbox() as sandbox:
            settings = sandbox_settings(sandbox)
            lines = [f"{name}={shlex.quote(value)}\n" for name, value in settings.items()]
            SETTINGS.write_text("".join(lines), encoding="utf-8")
            print(
                f"The sandbox of the four APIs listens at {sandbox.url} until you press Ctrl-C.\n"
                f"In another terminal:\n"
                f"  set -a; . {SETTINGS.relative_to(ROOT)}; set +a\n"
                f"  .venv/bin/meltano run robotmia-to-mona",
                flush=True,
            )
            while True:
                signal.pause()
    except Interrupted:
        return 0
    finally:
        SETTINGS.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
