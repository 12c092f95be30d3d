"""Runs the tap: ``python -m tap_robotmia``."""

import signal
import sys

_SWITCH_SECONDS = 0.0005


def main() -> None:
    """Run the command; an interrupt ends it without a traceback also while it is loaded."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Threads that inflate need the interpreter for moments only. With Python's own 5 ms, they
    # would wait for it longer than they work, and the reader then for them.
    sys.setswitchinterval(_SWITCH_SECONDS)
    from tap_robotmia.tap import TapRobotmia  # noqa: PLC0415 - which takes the better part of a second

    TapRobotmia.cli()


if __name__ == "__main__":
    main()
