"""A text from outside is redacted before it is cut: a part of a secret is not recognized."""

from __future__ import annotations

import ast
import io
import json
import re
from typing import TYPE_CHECKING

import pytest

from singer_martech.delivery.reject_reasons import RejectReasons
from singer_martech.http.connection import cause
from singer_martech.http.content import raise_if_html
from singer_martech.http.errors import IncompleteBody, InvalidResponse, UnexpectedContent
from singer_martech.http.interpretation import Interpreting
from singer_martech.http.response import Response
from singer_martech.mediarithmics import client as mediarithmics
from singer_martech.runtime.redaction import register_secret
from tap_mediarithmics.result_files import check_file
from tap_robotmia.lines import MalformedLine, error_text, parse_line
from target_mediarithmics.error_file import failed_lines, head_of_file
from target_monetate.envelope import joined, texts
from tests.project.test_patterns import PACKAGES
from tools.settings import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "an-api-token-of-some-vendor-01234567890"

ALLOWED = {
    "singer_martech/runtime/redaction.py: line[:max_characters]",
    "singer_martech/delivery/dry_run.py: text[:_SHOWN_CHARACTERS]",  # redacted just before
    # a command without settings, which shows reports
    "singer_martech/cli/rejects.py: escape_controls(text)[:_EXAMPLE_CHARACTERS]",
}
FEW_CHARACTERS = 39


def message_of(raised: type[Exception], run: Callable[[], object]) -> str:
    with pytest.raises(raised) as caught:
        run()
    return str(caught.value)


def interpreted(text: str) -> None:
    with Interpreting(Response("x", 200, {}, b"")):
        raise ValueError(text)


def failed(line: str) -> str:
    class EncodedRecords(list[bytes]):
        def line(self, index: int) -> bytes:
            return self[index]

    return failed_lines(io.BytesIO(line.encode()), EncodedRecords([b"{}"]), 1)[0]


def example(text: str) -> str:
    reasons = RejectReasons()
    reasons.add("stream", "reason", None, {"id": text})
    return str(reasons.most_common()[0].example)


PLACES: dict[str, Callable[[str], str | None]] = {
    "a response": lambda text: Response("x", 500, {}, text.encode()).head,
    "an HTML page": lambda text: message_of(
        UnexpectedContent, lambda: raise_if_html({}, f"<html>{text}".encode())
    ),
    "an HTML page in blocks": lambda text: message_of(
        UnexpectedContent,
        lambda: raise_if_html({}, f"<html>{text[:50]}".encode(), iter([text[50:].encode()])),
    ),
    "an error about a value": lambda text: message_of(InvalidResponse, lambda: interpreted(text)),
    "a broken connection": lambda text: cause(IncompleteBody(text)),
    "the cause of a broken connection": lambda text: cause(ConnectionError(text)),
    "the key of a rejected record": example,
    "fields of mediarithmics": lambda text: message_of(
        mediarithmics.UnexpectedResponse,
        lambda: mediarithmics.read(lambda fields: fields["id"], {"name": text}, "x"),
    ),
    "an error of mediarithmics": lambda text: message_of(
        UnexpectedContent,
        lambda: mediarithmics._validate(  # noqa: SLF001 - one of many ways to this text
            Response("x", 200, {}, json.dumps({"error": text}).encode())
        ),
    ),
    "a result of mediarithmics": lambda text: message_of(
        IncompleteBody, lambda: check_file(io.BytesIO(json.dumps({"error": text}).encode()))
    ),
    "an error file of mediarithmics": lambda text: head_of_file(io.BytesIO(text.encode())),
    "a line of an error file": lambda text: failed(f"line 1: {text}"),
    "an object of an error file": lambda text: failed(json.dumps({"line": 1, "error": text})),
    "errors of Monetate": lambda text: joined(texts([{"message": text}])),
    "an error of robotmia": lambda text: error_text(json.dumps({"error": text}).encode()),
    "a message of robotmia": lambda text: error_text(
        json.dumps({"status": "error", "message": text}).encode()
    ),
    "a malformed line": lambda text: message_of(
        MalformedLine, lambda: parse_line(json.dumps({"error": text}).encode())
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("before", range(0, 40, 10))
def test_no_part_of_a_secret_is_shown_at_a_cut(place: str, before: int) -> None:
    register_secret(SECRET)
    shown = PLACES[place]("e" * before + f" {SECRET}" * 100)
    assert shown is not None
    assert "[secret]" in shown
    assert SECRET[:8] not in shown


def cuts(tree: ast.AST) -> Iterator[str]:
    """Yield the slices that keep many characters of a text, by the names of their limits."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and is_cut_of_text(node.slice):
            yield ast.unparse(node)


def is_cut_of_text(part: ast.expr) -> bool:
    limit = part.upper if isinstance(part, ast.Slice) else None
    if isinstance(limit, ast.Constant):
        return isinstance(limit.value, int) and limit.value > FEW_CHARACTERS
    return isinstance(limit, ast.Name) and bool(re.search("(?i)characters|shown", limit.id))


def test_texts_are_cut_by_redacted_head_only() -> None:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    found = {
        f"{path.relative_to(ROOT)}: {cut}"
        for path in paths
        for cut in cuts(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == ALLOWED, "use redacted_head"
