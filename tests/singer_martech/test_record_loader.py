"""Errors of a stream map that concern the record, and those that concern the run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from singer_martech.delivery.record_loader import RecordLoader
from singer_martech.errors import MartechError


class Rejections(list[str]):
    def reject(self, _metrics: Any, _sequence: int, _raw: bytes, reason: str) -> None:
        self.append(reason)


def rejections_after(error: Exception) -> list[str]:
    """Load a record whose stream map raises an error; return the reasons of rejected records."""
    rejections = Rejections()
    dispatcher = SimpleNamespace(settlement=rejections)
    target = SimpleNamespace(config={"deletes": "apply"}, sequence=1, dispatcher=dispatcher)
    metrics = SimpleNamespace(read=0)
    names: Any = {"target": target, "metrics": metrics, "key_properties": (), "left_out": ()}
    sink: Any = SimpleNamespace(**names, mirror=None)

    def transform(_: dict[str, Any]) -> None:
        raise error

    RecordLoader(sink, transform).load({"record": {"id": 1}, "raw": b'{"id":1}'})
    return rejections


@pytest.mark.parametrize("error", [MemoryError(), OSError("disk"), MartechError("stop")], ids=repr)
def test_an_error_that_concerns_the_run_is_not_taken_for_the_records(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        rejections_after(error)
    assert raised.value is error


@pytest.mark.parametrize("error", [KeyError("n"), ValueError("n"), RecursionError("n")], ids=repr)
def test_an_error_of_an_expression_rejects_the_record(error: Exception) -> None:
    assert rejections_after(error) == [f"a stream map fails: {error}"]
