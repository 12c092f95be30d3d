"""Run ``target-mona``."""

from functools import partial

from singer_martech.runtime.startup import start

main = partial(start, "target_mona.target.TargetMona")

if __name__ == "__main__":
    main()
