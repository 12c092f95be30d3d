"""Writing and reading values as JSON, exactly."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import simplejson

from singer_martech.errors import MappingError

if TYPE_CHECKING:
    from collections.abc import Callable


def _other(value: Any) -> Any:
    if isinstance(value, str):  # such as what Jinja's filter `escape` makes
        return str.__str__(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (datetime.date, datetime.time)):  # only asked when half surrogates are
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return str(value)
    raise NotImplementedError(type(value).__name__)


_encoder = msgspec.json.Encoder(enc_hook=_other, decimal_format="number")

decode: Callable[[bytes | msgspec.Raw], Any] = msgspec.json.Decoder(float_hook=Decimal).decode
"""Decodes JSON; a number with a point becomes a decimal, to the digit."""

decode_object: Callable[[bytes | msgspec.Raw], dict[str, Any]] = msgspec.json.Decoder(
    dict[str, Any], float_hook=Decimal
).decode
"""Likewise; what is no object is refused."""


def encode(value: Any) -> bytes:
    """Return a value as JSON.

    Halves of surrogate pairs, which no UTF-8 text can hold, are written as escapes.

    Raises:
        MappingError: It holds something that JSON cannot carry.
    """
    try:
        text = _encoder.encode(value)
    except UnicodeEncodeError:
        text = simplejson.dumps(
            value, use_decimal=True, default=_other, separators=(",", ":")
        ).encode()
    except (TypeError, NotImplementedError, ValueError, OverflowError, RecursionError) as error:
        raise MappingError(f"cannot be written as JSON: {error}") from error
    if type(value) is not str and (b"NaN" in text or b"Infinity" in text) and not _is_json(text):
        raise MappingError("cannot be written as JSON: it holds NaN or Infinity")
    return text


def is_unicode(text: str) -> bool:
    """Whether a text is without halves of surrogate pairs, so that UTF-8 can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unicode(value: Any) -> Any:
    """Return a JSON value with a replacement character for each half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {unicode(name): unicode(item) for name, item in value.items()}
    if isinstance(value, list):
        return [unicode(item) for item in value]
    return value


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except ValueError:
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(name)


def json_members(text: str, odd: set[str]) -> dict[str, tuple[Any, str]]:
    """Return what an object holds, each value with its JSON as received.

    Args:
        text: The object.
        odd: Takes up the names of what is no number of JSON; its text stands in its place.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deep.
    """

    def number(parse: Callable[[str], Any]) -> Callable[[str], Any]:
        def parsed(digits: str) -> Any:
            try:
                return parse(digits)
            except (ArithmeticError, ValueError):
                odd.add("a number out of all bounds")
                return digits

        return parsed

    def constant(name: str) -> str:
        odd.add(name)
        return name

    decoder = json.JSONDecoder(
        parse_float=number(Decimal), parse_int=number(int), parse_constant=constant
    )
    if not isinstance(decoder.decode(text), dict):
        return {}
    members: dict[str, tuple[Any, str]] = {}
    place = _after_space(text, _after_space(text, 0) + 1)
    while text[place] != "}":
        name, place = decoder.raw_decode(text, place)
        start = _after_space(text, _after_space(text, place) + 1)
        value, end = decoder.raw_decode(text, start)
        members[name] = value, text[start:end]
        place = _after_space(text, end)
        if text[place] == ",":
            place = _after_space(text, place + 1)
    return members


def _after_space(text: str, place: int) -> int:
    while text[place] in " \t\n\r":
        place += 1
    return place
