"""Run ``target-monetate``."""

from functools import partial

from singer_martech.runtime.startup import start

main = partial(start, "target_monetate.target.TargetMonetate")

if __name__ == "__main__":
    main()
