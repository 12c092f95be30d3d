"""Run ``target-mediarithmics``."""

from functools import partial

from singer_martech.runtime.startup import start

main = partial(start, "target_mediarithmics.target.TargetMediarithmics")

if __name__ == "__main__":
    main()
