"""The page that `singer-martech-report` creates from run summaries."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from singer_martech.cli.report.command import main
from target_mona.target import TargetMona

if TYPE_CHECKING:
    from tests.sandbox.server import Sandbox

VOID = {"meta", "link", "br", "img"}
NASTY = "</title><script>alert('x')</script>\" onload=\"alert(1)&amp;"


class Page(HTMLParser):
    """The parsed page; elements must be nested correctly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        shown = " ".join(text for tag, text in self.texts if tag not in {"style", "title"})
        return " ".join(shown.split())


def timeline(*points: tuple[float, int, int, int]) -> dict[str, list[Any]]:
    names = ("seconds", "delivered", "rejected", "retries")
    return dict(zip(names, map(list, zip(*points, strict=True)), strict=True))


def summary(run: str = "20261121T100000Z-abc123", **changes: Any) -> dict[str, Any]:
    line = timeline((0, 0, 0, 0), (5, 500, 2, 1), (10, 2_000, 3, 1))
    counts = {"read": 2_003, "delivered": 2_000, "rejected": 3, "skipped_deletes": 0}
    stream = {
        **counts,
        "stream": "scores",
        "superseded": 0,
        "requests": 4,
        "retries": 1,
        "bytes": 4_096,
        "seconds": 10.0,
        "timeline": line,
    }
    reject = {
        "stream": "scores",
        "reason": "too hot",
        "status": 400,
        "example": {"id": "s-7"},
        "count": 3,
    }
    return {
        "format": 1,
        "target": "target-mona",
        "version": "1.2.3",
        "run": run,
        "dry_run": False,
        "outcome": "succeeded",
        "reason": None,
        "seconds": 10.0,
        "started_at": "2026-11-21T10:00:00.000+00:00",
        "ended_at": "2026-11-21T10:00:10.000+00:00",
        "requests": 4,
        "retries": 1,
        "bytes": 4_096,
        "timeline": line,
        "streams": [stream],
        "rejects": [reject],
        "rejects_for_other_reasons": 0,
        **changes,
    }


def page_of(folder: Path, *summaries: dict[str, Any]) -> Page:
    for number, each in enumerate(summaries):
        (folder / f"{number}.json").write_text(json.dumps(each), encoding="utf-8")
    files = [str(folder / f"{number}.json") for number in range(len(summaries))]
    done = CliRunner().invoke(main, [*files, "--output", "-"])
    assert done.exit_code == 0, done.output
    return Page(done.output)


def rejection(*arguments: str) -> str:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code != 0
    return " ".join(done.output.split())


def test_the_page_of_a_real_run_shows_what_the_target_counted(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    config = {
        **sandbox.mona.credentials(),
        "reject_path": str(tmp_path / "rejects"),
        "summary_path": str(tmp_path / "summaries"),
        "max_rejected_records": 5,
    }
    sandbox.faults.add("mona", path="/export", status=503, retry_after=0, times=1)
    schema = {"properties": {"id": {"type": "string"}, "score": {"type": "number"}}}
    messages = [
        {"type": "SCHEMA", "stream": "scores", "key_properties": ["id"], "schema": schema},
        *(
            {"type": "RECORD", "stream": "scores", "record": {"id": str(number), "score": score}}
            for number, score in enumerate([1.5] * 1_200 + ["high"] * 3)
        ),
    ]
    text = "".join(json.dumps(message) + "\n" for message in messages)
    TargetMona(config=config).listen(io.StringIO(text))
    done = CliRunner().invoke(
        main, [str(tmp_path / "summaries"), "--output", str(tmp_path / "page.html")]
    )
    assert done.exit_code == 0, done.output
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o600
    assert "A run of target-mona" in page.text
    assert "Delivered 1,200 records" in page.text
    assert "Rejected 3 records, 0.2 %" in page.text
    assert "Retried 1 of 3 requests" in page.text
    assert "id = 1200" in page.text


def test_the_page_is_self_contained(tmp_path: Path) -> None:
    page = page_of(tmp_path, summary(), summary("b", started_at="2026-11-21T11:00:00+00:00"))
    (policy,) = [each for each in page.all("meta") if each.get("http-equiv")]
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert not page.all("script")
    assert not page.all("link")
    assert not page.all("img")
    links = [each.get("href") for each in page.all("a")]
    assert links
    assert all(link and link.startswith("#") for link in links)
    assert not re.search(r"url\(|@import|https?:", page.source)


def test_values_of_summaries_are_escaped(tmp_path: Path) -> None:
    harmless = page_of(tmp_path, summary())
    nasty = summary(target=NASTY, version=NASTY, run=NASTY, outcome="failed", reason=NASTY)
    nasty["streams"][0]["stream"] = NASTY
    nasty["rejects"][0].update(stream=NASTY, reason=NASTY, example={NASTY: NASTY})
    page = page_of(tmp_path, nasty)
    expected = [tag for tag, _ in harmless.elements]
    assert [tag for tag, _ in page.elements if tag != "p"] == [
        tag for tag in expected if tag != "p"
    ]
    assert not any("onload" in attributes for _, attributes in page.elements)
    assert page.text.count(NASTY) >= 6


def test_every_link_has_a_target(tmp_path: Path) -> None:
    runs = [summary(str(number), started_at=f"2026-11-2{number}T10:00:00Z") for number in range(3)]
    page = page_of(tmp_path, *runs)
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {link["href"] for link in page.all("a")} == {"#run-1", "#run-2", "#run-3"}
    assert {f"run-{number}" for number in (1, 2, 3)} <= ids


def test_runs_are_summed_and_equal_reasons_merged(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        summary("a"),
        summary("b", outcome="failed", reason="target broke", started_at="2026-11-21T12:00:00Z"),
    )
    assert "2 runs of target-mona" in page.text
    assert "1 succeeded, 1 failed" in page.text
    assert "Delivered 4,000 records" in page.text
    assert "target broke" in page.text
    assert page.text.count("too hot") == 1
    assert "in 2 runs" in page.text
    assert "id = s-7" in page.text


def test_a_dry_run_is_shown_but_not_summed(tmp_path: Path) -> None:
    dry = summary("b", dry_run=True)
    dry["streams"][0]["would_deliver"] = dry["streams"][0].pop("delivered")
    page = page_of(tmp_path, summary("a"), dry)
    assert "Delivered 2,000 records" in page.text
    assert "1 succeeded, and 1 dry run" in page.text
    assert "Would deliver 2,000 in 1 dry run" in page.text
    assert "Would deliver, records per second" in page.text


@pytest.fixture
def dry_run(sandbox: Sandbox, tmp_path: Path) -> Path:
    """The summary of a dry run."""
    path = tmp_path / "run.json"
    config = {**sandbox.mona.credentials(), "dry_run": True, "summary_path": str(path)}
    messages: list[dict[str, Any]] = [
        {"type": "SCHEMA", "stream": "scores", "key_properties": ["id"], "schema": {}},
        {"type": "RECORD", "stream": "scores", "record": {"id": "a"}},
    ]
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    TargetMona(config=config).listen(io.StringIO(lines))
    return path


def test_the_page_of_a_real_dry_run_can_be_made(dry_run: Path) -> None:
    done = CliRunner().invoke(main, [str(dry_run), "--output", "-"])
    assert done.exit_code == 0, done.output
    assert "Would deliver 1 in 1 dry run" in Page(done.output).text
    with dry_run.with_name("open").open("a+", encoding="utf-8") as file:
        name = f"/dev/fd/{file.fileno()}"
        done_again = CliRunner().invoke(main, [str(dry_run), "--output", name])
        assert (done_again.exit_code, done_again.output) == (0, "")
        file.seek(0)
        assert file.read() == done.output


@pytest.mark.parametrize(
    ("redirect", "error"), [("", ""), (">&-", "nothing can be written: standard output is closed")]
)
def test_the_page_is_utf_8_and_needs_an_output(dry_run: Path, redirect: str, error: str) -> None:
    command = Path(sys.executable).with_name("singer-martech-report")
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirect}', "sh", command, dry_run, "--output", "-"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.stderr.decode() == (f"Error: {error}\n" if error else "")
    assert done.returncode == bool(error)
    assert ("✓" in done.stdout.decode()) == (not error)


def test_a_page_in_a_file_needs_no_standard_output(dry_run: Path, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("singer-martech-report")
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", command, dry_run, "--output", "page.html"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "✓" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_unchanged_records_are_counted_where_there_is_a_ledger(tmp_path: Path) -> None:
    with_ledger = summary("a")
    with_ledger["streams"][0]["unchanged"] = 17
    page = page_of(tmp_path, with_ledger)
    assert "Unchanged 17 not sent again" in page.text
    assert "Unchanged" not in page_of(tmp_path, summary("b")).text


def test_a_run_names_its_pipeline_and_its_meltano_run(tmp_path: Path) -> None:
    run = summary(pipeline="prod:tap-shop-to-target-mona", meltano_run_id="01a2-77")
    page = page_of(tmp_path, run)
    assert "Pipeline prod:tap-shop-to-target-mona. Meltano run 01a2-77." in page.text


def test_reasons_are_shown_above_runs(tmp_path: Path) -> None:
    page = page_of(tmp_path, summary("a"), summary("b", started_at="2026-11-21T11:00:00Z"))
    headings = [text for tag, text in page.texts if tag == "h2"]
    assert headings[:2] == ["Why records were rejected", "The runs"]


def test_a_filter_hides_other_targets_and_streams(tmp_path: Path) -> None:
    other = summary("b", target="target-monetate")
    other["streams"][0]["stream"] = other["rejects"][0]["stream"] = "orders"
    page = page_of(tmp_path, summary("a"), other)
    assert [each["id"] for each in page.all("select")] == ["target", "stream"]
    options = [text for tag, text in page.texts if tag == "option"]
    assert options == ["all", "target-mona", "target-monetate", "all", "orders", "scores"]
    for kind in ("target", "stream"):
        rule = f'main:has(#{kind} option[value="1"]:checked) [data-{kind}]:not([data-{kind}~="1"])'
        assert rule in page.source
    sections = [each for each in page.all("section") if each.get("class") == "run"]
    assert [(each["data-target"], each["data-stream"]) for each in sections] == [
        ("2", "1 "),
        ("1", "2 "),
    ]
    rows = [each for each in page.all("tr") if "data-target" in each]
    assert len(rows) == 4  # two reasons, two runs


def test_one_target_and_one_stream_have_no_filter(tmp_path: Path) -> None:
    assert not page_of(tmp_path, summary("a")).all("select")


def test_an_invalid_file_is_skipped_and_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("not JSON\x1b")
    (tmp_path / "good.json").write_text(json.dumps(summary()))
    done = CliRunner().invoke(main, [str(tmp_path), "--output", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    assert "bad.json is not a run summary" in done.stderr
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "A run of target-mona" in page.text
    assert "bad.json is not a run summary" in page.text


def test_the_same_run_given_twice_counts_once(tmp_path: Path) -> None:
    page = page_of(tmp_path, summary("a"), summary("a"))
    assert "A run of target-mona" in page.text


def test_charts_have_a_text_description(tmp_path: Path) -> None:
    page = page_of(tmp_path, summary())
    (chart,) = page.all("svg")
    assert chart["role"] == "img"
    assert chart["aria-label"] == (
        "Delivered, records per second: at most 300; Rejected, records: at most 2; "
        "Retried, requests: at most 1, over 10 s."
    )
    bars = [text for tag, text in page.texts if tag == "title" and "from" in text]
    assert bars == [
        "from 0.0 s to 5.0 s: 100 records a second",
        "from 5.0 s to 10 s: 300 records a second",
        "from 0.0 s to 5.0 s: 2 rejected",
        "from 5.0 s to 10 s: 1 rejected",
        "from 0.0 s to 5.0 s: 1 retried",
    ]


def test_bars_fit_the_chart_and_match_their_values(tmp_path: Path) -> None:
    page = page_of(tmp_path, summary())
    delivered = [
        {name: float(value or 0) for name, value in each.items()} for each in page.all("rect")[:2]
    ]
    assert delivered[1]["height"] == pytest.approx(3 * delivered[0]["height"], rel=0.01)
    assert delivered[0]["y"] + delivered[0]["height"] == pytest.approx(
        delivered[1]["y"] + delivered[1]["height"]
    )
    assert all(bar["x"] >= 0 and bar["x"] + bar["width"] <= 960 for bar in delivered)


def test_a_run_without_records_is_reported(tmp_path: Path) -> None:
    nothing = timeline((0, 0, 0, 0), (0, 0, 0, 0))
    page = page_of(
        tmp_path,
        summary(
            streams=[],
            rejects=[],
            timeline=nothing,
            seconds=0.0,
            requests=0,
            retries=0,
            bytes=0,
        ),
    )
    assert "Nothing was delivered or rejected" in page.text
    assert "No record was rejected" in page.text


def test_the_page_size_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for number in range(300):
        day = f"2026-{1 + number // 28:02d}-{1 + number % 28:02d}T10:00:00Z"
        text = json.dumps(summary(str(number), started_at=day))
        (tmp_path / "runs" / f"{number}.json").write_text(text)
    done = CliRunner().invoke(main, [str(tmp_path / "runs"), "--output", "-"])
    page = Page(done.output)
    assert "300 runs of target-mona" in page.text
    assert "The newest 120 runs" in page.text
    assert len(page.all("svg")) == 61
    assert len(done.output) < 1_000_000


def test_a_file_that_is_not_a_run_summary_is_an_error(tmp_path: Path) -> None:
    def given(text: str) -> str:
        (tmp_path / "x.json").write_text(text)
        return rejection(str(tmp_path / "x.json"))

    assert "is not a run summary" in given("[]")
    assert "is not a run summary" in given('{"format":1}')
    assert "is not a run summary" in given("not JSON")
    assert "format 7" in given('{"format":7}')
    uneven = summary()
    uneven["timeline"]["rejected"] = [0]
    assert "not equally long" in given(json.dumps(uneven))
    assert "x.json" in given("[]")


def test_a_folder_without_summaries_is_an_error(tmp_path: Path) -> None:
    assert "summary_path" in rejection(str(tmp_path))
    assert "does not exist" in rejection(str(tmp_path / "nowhere"))


def test_schema_files_in_the_same_folder_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "target-mona.scores.1.schema.json").write_text("{}")
    (tmp_path / "run.json").write_text(json.dumps(summary()))
    done = CliRunner().invoke(main, [str(tmp_path), "--output", "-"])
    assert done.exit_code == 0, done.output
