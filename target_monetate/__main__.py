"""Runs the target: ``python -m target_monetate``."""

import signal


def main() -> None:
    """Run the command; an interrupt ends it without a traceback also while it is loaded."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from target_monetate.target import TargetMonetate  # noqa: PLC0415 - which takes the better part of a second

    TargetMonetate.cli()


if __name__ == "__main__":
    main()
