"""Runs the tap: ``python -m tap_mediarithmics``."""

import signal


def main() -> None:
    """Run the command; an interrupt ends it without a traceback also while it is loaded."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tap_mediarithmics.tap import TapMediarithmics  # noqa: PLC0415 - which takes the better part of a second

    TapMediarithmics.cli()


if __name__ == "__main__":
    main()
