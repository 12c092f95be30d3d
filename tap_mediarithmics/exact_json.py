"""Parse the JSON of a line, every number exact."""

from __future__ import annotations

from typing import Any

from singer_martech.values.json_codec import exact_decoder, reject_constant

_decode = exact_decoder(parse_constant=reject_constant).decode


def parse_json(line: bytes) -> Any:
    """Parse JSON text.

    An integer with more digits than Python converts becomes a ``Decimal``. A number whose
    exponent is too large for a ``Decimal`` becomes text.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deep.
    """
    return _decode(line.decode("utf-8-sig"))
