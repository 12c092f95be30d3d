"""Runs the tap: ``python -m tap_robotmia``."""

from tap_robotmia.tap import TapRobotmia

TapRobotmia.cli()
