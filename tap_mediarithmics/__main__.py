"""Run ``tap-mediarithmics``."""

from functools import partial

from singer_martech.runtime.startup import start

main = partial(start, "tap_mediarithmics.tap.TapMediarithmics")

if __name__ == "__main__":
    main()
