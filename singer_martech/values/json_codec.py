"""Encode and decode JSON with all digits of numbers."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import simplejson

from singer_martech.errors import MappingError
from singer_martech.values.json_scan import member_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _other(value: Any) -> Any:
    if isinstance(value, str):  # a subclass, such as the result of Jinja's filter `escape`
        return str.__str__(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (datetime.date, datetime.time)):  # for simplejson
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return str(value)
    raise NotImplementedError(type(value).__name__)


_encoder = msgspec.json.Encoder(enc_hook=_other, decimal_format="number")

decode: Callable[[bytes | msgspec.Raw], Any] = msgspec.json.Decoder(float_hook=Decimal).decode
"""Decode JSON. A number with a point or an exponent becomes an exact ``Decimal``."""

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError)
"""Errors of a decoder for a text that it cannot decode."""

decode_object: Callable[[bytes | msgspec.Raw], dict[str, Any]] = msgspec.json.Decoder(
    dict[str, Any], float_hook=Decimal
).decode
"""Decode a JSON object like ``decode``; any other value is an error."""


def encode(value: Any) -> bytes:
    """Encode a value as JSON.

    Lone surrogates, which UTF-8 cannot encode, are written as escapes.

    Raises:
        MappingError: JSON cannot represent the value.
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


def encode_lines(values: Sequence[Any]) -> list[bytes]:
    """Encode values as JSON, in less time than one by one.

    Raises:
        MappingError: JSON cannot represent one of them.
    """
    try:
        text = _encoder.encode_lines(values)
    except (TypeError, NotImplementedError, ValueError, OverflowError, RecursionError):
        return [encode(value) for value in values]
    if b"NaN" in text or b"Infinity" in text:
        return [encode(value) for value in values]
    return text.split(b"\n")[:-1]


def is_utf8(data: bytes) -> bool:
    """Whether the bytes are valid UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_unicode(text: str) -> bool:
    """Whether the text can be encoded as UTF-8, because it has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unicode(value: Any) -> Any:
    """Replace each lone surrogate in a JSON value with U+FFFD."""
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {unicode(name): unicode(item) for name, item in value.items()}
    if isinstance(value, list):
        return [unicode(item) for item in value]
    return value


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text, parse_constant=reject_constant)
    except ValueError:
        return False
    return True


def reject_constant(name: str) -> NoReturn:
    """Reject NaN and Infinity, which Python's decoder accepts but JSON does not allow.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"it holds {name}")


def exact_integer(digits: str) -> int | Decimal:
    """Return an integer; one with more digits than Python converts is a ``Decimal``."""
    try:
        return int(digits)
    except ValueError:
        return Decimal(digits)


def exact_number(digits: str) -> Decimal | str:
    """Return a number with a point; one whose exponent ``Decimal`` cannot hold stays text."""
    try:
        return Decimal(digits)
    except ArithmeticError:
        return digits


def exact_decoder(parse_constant: Callable[[str], Any]) -> json.JSONDecoder:
    """Return a decoder that accepts any number exactly, slower than ``decode``.

    Args:
        parse_constant: Returns the value of NaN and Infinity, given as text, or raises.
    """
    return json.JSONDecoder(
        parse_int=exact_integer, parse_float=exact_number, parse_constant=parse_constant
    )


def json_members(text: str, unrepresentable: set[str]) -> dict[str, tuple[Any, str]]:
    """Return the members of an object, each with its value and its JSON as received.

    Args:
        text: A JSON object, in which Python's ``NaN`` and ``Infinity`` are accepted.
        unrepresentable: Receives a label for each kind of number that JSON cannot represent.
            The value of such a number is its text.

    Raises:
        ValueError: The text is not JSON.
        RecursionError: The text is nested too deep.
    """

    def number(parse: Callable[[str], Any]) -> Callable[[str], Any]:
        def parsed(digits: str) -> Any:
            try:
                return parse(digits)
            except (ArithmeticError, ValueError):
                unrepresentable.add("a number out of range")
                return digits

        return parsed

    def constant(name: str) -> str:
        unrepresentable.add(name)
        return name

    decoder = json.JSONDecoder(
        parse_float=number(Decimal), parse_int=number(int), parse_constant=constant
    )
    values = decoder.decode(text)
    if not isinstance(values, dict):
        return {}
    texts = member_texts(text)
    return {name: (value, texts[name]) for name, value in values.items()}
