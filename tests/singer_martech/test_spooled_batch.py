from __future__ import annotations

import resource
import signal
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from singer_martech._compat import override
from singer_martech.delivery.batch_result import BatchResult, UnidentifiedRejects
from singer_martech.delivery.destination import Destination
from singer_martech.delivery.metrics import StreamMetrics
from singer_martech.delivery.spooled_batch import SpooledBatch
from singer_martech.runtime.temp_files import DiskFull
from tests.kit.fake_destination import as_received

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_martech.delivery.batch import Batch, PendingRecord


class Nowhere(Destination):
    name = "nowhere"
    max_rows = 1000
    max_bytes = 1000
    envelope_bytes = 5

    @override
    def send(self, batch: Batch, batch_result: BatchResult) -> None:
        raise NotImplementedError

    @override
    def preview(self, items: Iterable[PendingRecord]) -> str:
        raise NotImplementedError


A, B = StreamMetrics("a"), StreamMetrics("b")


@pytest.fixture
def batch() -> SpooledBatch:
    batch = SpooledBatch(Nowhere(), b"head\n")
    for number, metrics in enumerate([A, B, A]):
        body, raw = f"body {number}".encode(), f"raw {number}".encode()
        batch.append(as_received(metrics, 10 + number, number % 2, body, raw))
    return batch


def test_the_body_is_the_request_body(batch: SpooledBatch) -> None:
    assert batch.body().read() == b"head\nbody 0\nbody 1\nbody 2\n"
    assert batch.bytes == len(b"head\nbody 0\nbody 1\nbody 2\n")


def test_a_partial_body_has_the_head_too(batch: SpooledBatch) -> None:
    with batch.part(1, 3) as part:
        assert part.read() == b"head\nbody 1\nbody 2\n"


def test_records_are_read_back_unchanged(batch: SpooledBatch) -> None:
    assert [(each.metrics, each.sequence, each.body, each.raw) for each in batch] == [
        (A, 10, b"body 0", b"raw 0"),
        (B, 11, b"body 1", b"raw 1"),
        (A, 12, b"body 2", b"raw 2"),
    ]
    assert len(batch) == 3
    assert set(batch.keys) == {0, 1}
    assert batch.first_sequence == 10


def test_records_are_read_while_the_body_is_being_sent(batch: SpooledBatch) -> None:
    body = batch.body()
    assert body.read(7) == b"head\nbo"
    assert batch.record(2).raw == b"raw 2"
    assert batch.line(0) == b"body 0"
    assert body.read() == b"dy 0\nbody 1\nbody 2\n"


def test_memory_does_not_grow_with_the_size_of_the_records() -> None:
    batch = SpooledBatch(Nowhere())
    tracemalloc.start()
    try:
        for number in range(5_000):
            batch.append(as_received(A, number, hash(str(number)), b"x" * 2000, b"y" * 2000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000
    assert len(batch.body().read()) == 5_000 * 2001


def test_delivered_records_of_a_failed_batch_are_counted(batch: SpooledBatch) -> None:
    batch_result = BatchResult(batch)
    batch_result.mark_delivered([batch.record(0)])
    batch_result.reject(batch.record(2), "bad")
    batch_result.failure = DiskFull("full")
    counts = batch_result.counts()
    assert counts.delivered == {A: 1}
    assert counts.first_unsettled == 11


def test_unidentified_records_are_counted_for_the_largest_stream_first(
    batch: SpooledBatch,
) -> None:
    batch_result = BatchResult(batch, is_complete=True)
    batch_result.unidentified.append(UnidentifiedRejects(1, "bad", "", "7"))
    counts = batch_result.counts()
    assert (counts.rejected[A], counts.rejected[B]) == (1, 0)
    assert (counts.delivered[A], counts.delivered[B]) == (1, 1)
    batch_result.unidentified.append(UnidentifiedRejects(2, "bad", "", "8"))
    counts = batch_result.counts()
    assert (counts.rejected[A], counts.rejected[B]) == (2, 1)
    assert (counts.delivered[A], counts.delivered[B]) == (0, 0)


@contextmanager
def small_disk() -> Iterator[None]:
    """Limit files to 4 KiB, only within a test, because pytest writes files too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_error_says_what_to_do() -> None:
    batch = SpooledBatch(Nowhere())
    with small_disk(), pytest.raises(DiskFull, match="TMPDIR"):
        fill(batch, "x" * 1000)


@pytest.mark.parametrize("text", ["x" * 1000, "x" * 40_000])
def test_a_batch_that_lost_a_part_on_a_full_disk_is_never_sent(text: str) -> None:
    batch = SpooledBatch(Nowhere())
    with small_disk(), pytest.raises(DiskFull):
        fill(batch, text)
    for _ in range(2):
        with pytest.raises(DiskFull):
            batch.records()


def test_a_small_batch_opens_no_file() -> None:
    batch = SpooledBatch(Nowhere(), b"head\n")
    batch.append(as_received(A, 1, None, b"x" * 1000, b"y"))
    assert (batch.is_on_disk, batch.held_bytes) == (False, len(b"head\n") + 1001 + 1)
    assert len(batch.body().read()) == len(b"head\n") + 1001


def test_a_batch_that_grows_moves_to_disk_unchanged() -> None:
    batch = SpooledBatch(Nowhere(), b"head\n")
    fill(batch, "x" * 1000)
    assert batch.is_on_disk
    assert batch.held_bytes < 1000
    assert batch.body().read() == b"head\n" + (b"x" * 1000 + b"\n") * 100
    assert [each.raw for each in batch] == [b"%d" % number for number in range(100)]


def fill(batch: SpooledBatch, text: str) -> None:
    """Add more than fits into memory, and more than a file buffers."""
    for number in range(100):
        batch.append(as_received(A, number, None, text.encode(), b"%d" % number))
