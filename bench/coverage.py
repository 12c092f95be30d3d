"""How many schemas of real taps open the fast path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from singer_martech.mapping.fast_path import compile_fast_path
from singer_martech.values.schema import normalize

SCHEMAS = Path(__file__).parent.parent / "tests" / "singer_martech" / "schemas"
"""Schemas with examples; those written after one tap bear its name."""


class Coverage(NamedTuple):
    """Whether a schema has a fast path, and how many of its records take it.

    Attributes:
        name: What the schema is modelled on.
        records: How many valid records there are.
        fast: How many of them take the fast path; None if the schema has none.
    """

    name: str
    records: int
    fast: int | None


def coverage() -> list[Coverage]:
    """Look at the schema of every tap."""
    return [_of(path) for path in sorted(SCHEMAS.glob("*tap-*.json"))]


def _of(path: Path) -> Coverage:
    case: dict[str, Any] = json.loads(path.read_bytes())
    schema, _ = normalize(case["schema"])
    fast_path = compile_fast_path(schema, [], {})
    valid = case["valid"]
    if fast_path is None:
        return Coverage(path.stem, len(valid), None)
    decoded = fast_path.decode([json.dumps(each).encode() for each in valid])
    taken = sum(values is not None for values in decoded.values)
    return Coverage(path.stem, len(valid), taken)


def table(found: list[Coverage]) -> str:
    """Return the coverage as a Markdown table."""
    opened = sum(each.fast is not None for each in found)
    rows = [
        f"### Fast path: {opened} of {len(found)} schemas of taps",
        "",
        "| schema | valid records | on the fast path |",
        "|---|---:|---:|",
        *(
            f"| {each.name} | {each.records} | {'none' if each.fast is None else each.fast} |"
            for each in found
        ),
    ]
    return "\n".join([*rows, ""])
