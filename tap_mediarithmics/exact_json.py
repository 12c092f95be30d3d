"""Parse the JSON of a line, every number exact."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NoReturn


def parse_json(line: bytes) -> Any:
    """Parse JSON text.

    An integer with more digits than Python converts becomes a ``Decimal``. A number whose
    exponent is too large for a ``Decimal`` becomes text.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deep.
    """
    return _DECODER.decode(line.decode("utf-8-sig"))


def _integer(digits: str) -> int | Decimal:
    try:
        return int(digits)
    except ValueError:
        return Decimal(digits)


def _number(digits: str) -> Decimal | str:
    try:
        return Decimal(digits)
    except ArithmeticError:
        return digits


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not a JSON number"
    raise ValueError(message)


_DECODER = json.JSONDecoder(
    parse_int=_integer, parse_float=_number, parse_constant=_refuse_constant
)
