"""Run the benchmarks: ``python -m bench``, or ``make bench``."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from bench import coverage, report
from bench.comparisons import Bench
from bench.inputs import inputs_in
from bench.measure import compare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.inputs import Inputs


OTHERS = ("tap-mixpanel==1.8.0", "orjson==3.11.4", "setuptools<81")
_READY_SECONDS = 30


def main() -> None:
    """Print the coverage of the fast path, measure, and write a table and a JSON file."""
    arguments = _arguments()
    tables = [coverage.table(coverage.coverage())]
    print(tables[0], flush=True)
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    others = _environment(folder / "others")
    sizes = (arguments.events, arguments.result_lines, arguments.scale)
    inputs = inputs_in(folder / "inputs", *sizes)
    # in a separate process: the memory of this one would count for the peak of its children
    prepare = [sys.executable, "-m", "bench.inputs", str(inputs.folder), *map(str, sizes)]
    subprocess.run(prepare, check=True)
    measured = []
    with _server(folder, inputs) as address:
        for comparison in Bench(folder, address, inputs, others).comparisons():
            if arguments.only and arguments.only not in comparison.title:
                continue
            comparison.prepare()
            figures = compare(comparison.subjects, arguments.rounds, folder / "last-command.log")
            measured.append((comparison, figures))
            tables.append(report.table(comparison, figures))
            print(tables[-1], flush=True)
    (folder / "report.md").write_text("\n".join(tables))
    if arguments.page is not None:
        report.renew_page(arguments.page, arguments.rounds, tables)
    report.write_json(folder / "report.json", measured)
    print(f"written: {folder / 'report.md'}, {folder / 'report.json'}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--result-lines", type=int, default=1_700_000, help="about 600 bytes each")
    parser.add_argument("--scale", type=float, default=1, help="part of the records to load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="a part of the titles of the comparisons to run")
    parser.add_argument("--page", type=Path, help="a page whose tables are replaced")
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    return parser.parse_args()


def _environment(folder: Path) -> Path:
    """Create the environment of the alternatives, and return its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *OTHERS], check=True)
    return python


@contextlib.contextmanager
def _server(folder: Path, inputs: Inputs) -> Iterator[str]:
    """Run the local server."""
    ready = folder / "server-address"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench.server", *map(str, (ready, inputs.body, inputs.result))]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not ready.exists() or not ready.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("the local server did not start")
            time.sleep(0.05)
        yield ready.read_text()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
