"""Run ``tap-robotmia``."""

from functools import partial

from singer_martech.runtime.startup import start

main = partial(start, "tap_robotmia.tap.TapRobotmia")

if __name__ == "__main__":
    main()
