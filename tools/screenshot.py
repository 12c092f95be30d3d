"""Renew the screenshot of a report in the README, from runs against the sandbox."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.pipelines.meltano import ROOT
from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping

PICTURE = ROOT / "docs" / "images" / "report.png"

_DAY = "2026-03-02"
_EVENTS = 60_000
_MAX_BYTES = 200_000
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_WIDTH, _HEIGHT = 1120, 1560

_MAPPING = {
    "events": {
        "arc_class": "SHOP_EVENT",
        "message": {
            "event": "{{ event }}",
            "city": "{{ properties['$city'] }}",
            # one event in a thousand has a zero there and is rejected
            "price_per_view": "{{ properties.price / properties.tags[2] }}",
        },
        "export_timestamp": "{{ time | epoch_s if properties.tags[2] != 7 else 'some day' }}",
    },
    "event_added_to_cart": {
        "arc_class": "CART",
        "context_id": "{{ event_id if tags[2] > 5 else sku ~ '.0' }}",
    },
}


def main() -> int:
    """Run the target, write the page, and take a screenshot with a browser."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        print(f"A browser is needed, one of: {', '.join(_BROWSERS)}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page = make_report(folder)
        _draw(browser, page, folder)
    size = PICTURE.stat().st_size
    print(f"{PICTURE.relative_to(ROOT)}: {size:,} bytes")
    if size > _MAX_BYTES:
        print(f"that is more than {_MAX_BYTES:,}", file=sys.stderr)
        return 1
    return 0


def make_report(folder: Path) -> Path:
    """Run tap-robotmia into target-mona three times, two of them with faults; return the page."""
    with Sandbox() as sandbox:
        sandbox.robotmia.set_big_day(_DAY, _EVENTS)
        events = folder / "events.jsonl"
        _extract(sandbox, folder, events)
        loading = {
            **sandbox.mona.credentials(),
            "streams": _MAPPING,
            "reject_path": str(folder / "rejects"),
            "summary_path": str(folder / "summaries"),
        }
        _load(folder, events, loading, expected=1)
        _add_faults(sandbox)
        _load(folder, events, {**loading, "max_rejected_records": _EVENTS}, expected=0)
        sandbox.faults.clear()
        sandbox.faults.add("mona", path="/export", times=None, delay=0.03)
        _load(folder, events, {**loading, "max_rejected_records": _EVENTS}, expected=0)
    page = folder / "report.html"
    command = [sys.executable, "-m", "singer_martech.cli.report", str(folder / "summaries")]
    subprocess.run([*command, "--output", str(page)], check=True, stdout=subprocess.DEVNULL)
    return page


def _extract(sandbox: Sandbox, folder: Path, events: Path) -> None:
    config = {
        **sandbox.robotmia.credentials(),
        "start_date": _DAY,
        "end_date": _DAY,
        "event_streams": ["Added to Cart"],
    }
    with events.open("wb") as output:
        _run("tap_robotmia", folder, config, stdout=output)


def _load(folder: Path, events: Path, config: Mapping[str, Any], *, expected: int) -> None:
    with events.open("rb") as source:
        _run("target_mona", folder, config, stdin=source, expected=expected)


def _run(
    module: str, folder: Path, config: Mapping[str, Any], *, expected: int = 0, **pipes: Any
) -> None:
    settings = folder / f"{module}.json"
    settings.write_text(json.dumps(config), encoding="utf-8")
    with (folder / "log.txt").open("ab") as log:
        pipes = {"stdout": subprocess.DEVNULL, **pipes}
        command = [sys.executable, "-m", module, "--config", str(settings)]
        done = subprocess.run(command, stderr=log, check=False, **pipes)
    if done.returncode != expected:
        sys.exit(f"{module} ended with {done.returncode}:\n{(folder / 'log.txt').read_text()}")


def _add_faults(sandbox: Sandbox) -> None:
    for after, times in ((12, 3), (30, 5), (41, 1)):
        sandbox.faults.add(
            "mona", path="/export", after=after, times=times, status=503, retry_after=0.5
        )
    sandbox.faults.add("mona", path="/export", times=None, delay=0.15)


def _draw(browser: str, page: Path, folder: Path) -> None:
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", "--hide-scrollbars", f"--user-data-dir={folder / 'browser'}"),
            f"--window-size={_WIDTH},{_HEIGHT}",
            f"--screenshot={PICTURE}",
            page.as_uri(),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
    )


if __name__ == "__main__":
    sys.exit(main())
