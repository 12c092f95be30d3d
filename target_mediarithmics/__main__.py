"""Runs the target: ``python -m target_mediarithmics``."""

from singer_martech.runtime.startup import start


def main() -> None:
    """Run the command."""
    start("target_mediarithmics.target.TargetMediarithmics")


if __name__ == "__main__":
    main()
