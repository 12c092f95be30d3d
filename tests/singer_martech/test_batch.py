from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.delivery import batch as batch_module
from singer_martech.delivery.batch import Batch
from singer_martech.delivery.batch_result import with_superseded
from singer_martech.delivery.metrics import StreamMetrics
from singer_martech.delivery.spooled_batch import SpooledBatch
from tests.kit.fake_destination import as_received

METRICS = StreamMetrics("people")
RECORD = st.tuples(
    st.sampled_from([None, 1, 2, 3, 4, 5]), st.integers(0, 30), st.integers(0, 30), st.booleans()
)


class Limits:
    envelope_bytes = 5

    def __init__(self, max_rows: int, max_bytes: int, *, merges_by_key: bool) -> None:
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self.merges_by_key = merges_by_key


def state(batch: Batch) -> list[Any]:
    """Return all that is known of a batch."""
    records = []
    for record in batch:
        chain = [(each.sequence, each.body, each.raw) for each in with_superseded(record)]
        records.append(chain)
    counts = (batch.rows, batch.bytes, batch.held_bytes, batch.is_full, dict(batch.rows_by_stream))
    return [records, sorted(batch.keys), counts, batch.first_sequence, batch.idempotent]


def filled(kind: type[Batch], limits: Limits, records: list[Any], *, at_once: bool) -> list[Any]:
    """Return the batches of all records, each ended by one that does not fit."""
    pending = [
        as_received(METRICS, sequence, key, b"b" * size, b"r" * held, idempotent=idempotent)
        for sequence, (key, size, held, idempotent) in enumerate(records, 1)
    ]
    states = []
    while pending:
        batch = kind(limits)
        batch.append(pending.pop(0))  # a record that is too large by itself is rejected before
        if at_once:
            del pending[: batch.extend(pending)]
        else:
            while pending and not batch.is_full and batch.has_room_for(pending[0]):
                batch.append(pending.pop(0))
        states.append(state(batch))
    return states


@pytest.mark.parametrize("kind", [Batch, SpooledBatch])
@given(
    records=st.lists(RECORD, max_size=20),
    limits=st.builds(Limits, st.integers(1, 8), st.integers(20, 150), merges_by_key=st.booleans()),
    max_held=st.integers(10, 200),
)
def test_records_added_together_make_the_same_batches_as_one_by_one(
    kind: type[Batch], records: list[Any], limits: Limits, max_held: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_module, "_MIN_HELD_BYTES", max_held)
        limits.max_bytes = max(limits.max_bytes, max_held // 4)
        if kind is SpooledBatch:  # it has keys for all records, and merges none
            records = [(key or 9, *rest) for key, *rest in records]
            limits.merges_by_key = False
        assert filled(kind, limits, records, at_once=True) == filled(
            kind, limits, records, at_once=False
        )
