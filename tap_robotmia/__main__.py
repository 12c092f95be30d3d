"""Runs the tap: ``python -m tap_robotmia``."""

from singer_martech.runtime.startup import start


def main() -> None:
    """Run the command."""
    start("tap_robotmia.tap.TapRobotmia")


if __name__ == "__main__":
    main()
