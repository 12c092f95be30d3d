"""Run the sandbox as a command: `python -m tests.sandbox --help`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from tests.sandbox.server import Sandbox


def main() -> int:
    """Serve until SIGTERM or SIGINT; print one line of JSON when requests are accepted."""
    arguments = _arguments()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with Sandbox(
        seed=arguments.seed,
        port=arguments.port,
        database=arguments.database,
    ) as sandbox:
        for day, events in arguments.big_day:
            sandbox.robotmia.set_big_day(day, int(events))
        line = json.dumps(sandbox.description())
        if arguments.ready_file:
            # Renamed into place, so that readers never see an incomplete file.
            unfinished = arguments.ready_file.with_suffix(".unfinished")
            unfinished.write_text(line + "\n")
            unfinished.replace(arguments.ready_file)
        print(line, flush=True)
        ended.wait()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.sandbox",
        description="The four vendors' APIs on one loopback port, until a signal ends it.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 selects a free port (default)")
    parser.add_argument("--database", type=Path, help="SQLite file, kept between runs")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generated data")
    parser.add_argument(
        "--big-day",
        nargs=2,
        action="append",
        default=[],
        metavar=("DAY", "EVENTS"),
        help="a robotmia day (yyyy-mm-dd) with so many events, for benchmarks; may be repeated",
    )
    parser.add_argument("--ready-file", type=Path, help="written once requests are accepted")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
