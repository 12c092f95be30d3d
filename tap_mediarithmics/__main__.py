"""Runs the tap: ``python -m tap_mediarithmics``."""

from singer_martech.runtime.startup import start


def main() -> None:
    """Run the command."""
    start("tap_mediarithmics.tap.TapMediarithmics")


if __name__ == "__main__":
    main()
