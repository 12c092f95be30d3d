"""Runs the target: ``python -m target_mona``."""

import signal


def main() -> None:
    """Run the command; an interrupt ends it without a traceback also while it is loaded."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from target_mona.target import TargetMona  # noqa: PLC0415 - which takes the better part of a second

    TargetMona.cli()


if __name__ == "__main__":
    main()
