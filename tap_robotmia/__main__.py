from tap_robotmia.tap import TapRobotmia

TapRobotmia.cli()
