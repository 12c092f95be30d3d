"""Runs the tap: ``python -m tap_robotmia``."""

import signal


def main() -> None:
    """Run the command; an interrupt ends it without a traceback also while it is loaded."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tap_robotmia.tap import TapRobotmia  # noqa: PLC0415 - which takes the better part of a second

    TapRobotmia.cli()


if __name__ == "__main__":
    main()
