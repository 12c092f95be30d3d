"""Runs the target: ``python -m target_mona``."""

from singer_martech.runtime.startup import start


def main() -> None:
    """Run the command."""
    start("target_mona.target.TargetMona")


if __name__ == "__main__":
    main()
