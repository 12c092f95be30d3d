"""Decode response bodies, and recognize responses that are not the vendor's."""

from __future__ import annotations

import contextlib
import io
import json
import zlib
from codecs import BOM_UTF8
from itertools import chain
from typing import TYPE_CHECKING, Any

import urllib3

from singer_martech.http.errors import InvalidResponse, UnexpectedContent
from singer_martech.runtime.redaction import HEAD_BYTES, redacted_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import requests

    from singer_martech.http.response import Response

    Validate = Callable[[Response], None]

_BLOCK_BYTES = 256 * 1024
_START_BYTES = 1024
_SHOWN_CHARACTERS = 200
GZIP_MAGIC = b"\x1f\x8b"
GZIP_BITS = 31
"""The window bits by which a decompressor of zlib expects gzip."""
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_HTML_STARTS = tuple(
    f"<{name}".encode()
    for name in ("!doctype html", "html", "head", "body", "title", "meta", "script", "!--", "form")
)


def blocks_as_sent(http_response: requests.Response) -> Iterator[bytes]:
    """Yield the body in blocks, compressed or not; IncompleteRead is raised if it ends early."""
    yield from http_response.raw.stream(_BLOCK_BYTES, decode_content=False)


def read_body(http_response: requests.Response, max_bytes: int) -> tuple[bytes, bool]:
    """Return at most ``max_bytes`` of the decoded body, and whether that is all."""
    body, is_complete = _joined(blocks_as_sent(http_response), max_bytes)
    encoding = http_response.headers.get("Content-Encoding")
    if not encoding:
        return body, is_complete
    # Decoded afterwards: an endless body can decode to nothing.
    sent = urllib3.HTTPResponse(
        io.BytesIO(body), {"Content-Encoding": encoding}, preload_content=False
    )
    decoded, is_decoded = _joined(sent.stream(_BLOCK_BYTES, decode_content=True), max_bytes)
    return decoded, is_complete and is_decoded


def _joined(blocks: Iterable[bytes], max_bytes: int) -> tuple[bytes, bool]:
    body = bytearray()
    for block in blocks:
        body += block
        if len(body) > max_bytes:
            return bytes(body[:max_bytes]), False
    return bytes(body), True


def accept_any(response: Response) -> None:
    """Accept any response; for use as ``validate`` of ``HttpClient``."""


def json_body(response: Response) -> Any:
    """Return the JSON value of the body.

    Raises:
        InvalidResponse: The body is not JSON.
    """
    try:
        return expect_json(response)
    except UnexpectedContent as error:
        raise InvalidResponse(f"{response.label}: {error}", response) from None


def json_or_none(response: Response) -> Any:
    """Return the JSON value of the body; None if it is not JSON."""
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return None


def expect_json(response: Response) -> Any:
    """Return the JSON value of the body; for use in ``validate`` of ``HttpClient``.

    Raises:
        UnexpectedContent: The body is not JSON.
    """
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        reason = f"is not JSON: {response.head or 'it is empty'}"
        raise UnexpectedContent(f"the response (status {response.status}) {reason}") from None


def raise_if_html(headers: Mapping[str, str], start: bytes, others: Iterable[bytes] = ()) -> None:
    """Raise if a body is an HTML page: no vendor sends one, but proxies and portals do.

    A JSON body is accepted with any Content-Type: some frameworks label it HTML by default.

    Args:
        headers: Those of the response.
        start: The first block of its body, or all of it.
        others: The further blocks, which are read for the message only.

    Raises:
        UnexpectedContent: It is HTML.
    """
    text = b" ".join(_unpacked(start)[:_START_BYTES].removeprefix(BOM_UTF8).lower().split())
    is_html = b"<html" in text if text.startswith(b"<?xml") else text.startswith(_HTML_STARTS)
    is_labelled = headers.get("Content-Type", "").lower().startswith(_HTML_TYPES)
    if is_html or (is_labelled and text and not text.startswith((b"{", b"["))):
        page, _ = _joined(chain((start,), others), HEAD_BYTES)
        head = redacted_head(_unpacked(page), _SHOWN_CHARACTERS)
        raise UnexpectedContent(f"the response is an HTML page, not the vendor's: {head}")


def _unpacked(start: bytes) -> bytes:
    if start.startswith(GZIP_MAGIC):
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(GZIP_BITS).decompress(start, HEAD_BYTES)
    return start
