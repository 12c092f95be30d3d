"""Runs the target: ``python -m target_monetate``."""

from singer_martech.runtime.startup import start


def main() -> None:
    """Run the command."""
    start("target_monetate.target.TargetMonetate")


if __name__ == "__main__":
    main()
