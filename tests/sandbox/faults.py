"""The fault plan: which requests fail, and how."""

from __future__ import annotations

import asyncio
import fnmatch
import gzip
import json
import random
import threading
import zlib
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from tests.sandbox.impostors import IMPOSTORS

if TYPE_CHECKING:
    from collections.abc import Callable

Reset = Literal["before", "after", "mid-body"]


@dataclass
class Fault:
    """One fault, applied to the requests that it matches.

    Matching:
        vendor: The vendor's name, or `*`.
        path: Part of the path, or a glob if it contains `*` or `[`. Empty: every path.
        method: The HTTP method; None: any.
        times: The number of requests to affect; None: all.
        after: The number of matching requests to skip first.
        probability: The probability to affect a matching request, drawn from the plan's seed.

    Effects, in this order:
        hold: The request waits until `release()` (or until the plan is cleared).
        delay: Seconds to wait before anything is done.
        expire_token: All tokens issued so far become invalid; the request then continues.
        reset "before": The connection is reset before the body is read or the vendor acts.
        status, body, headers, retry_after: A response that replaces the vendor's (a body that
            is not text is sent as JSON; the default is the vendor's error body). With
            `after_acting` the vendor acts first, so the data is stored anyway.
            Without a status, `headers` and `retry_after` are added to the vendor's response.
        impostor: A name from `IMPOSTORS`, such as `captive portal`: a response with status 200
            that does not come from the vendor. `after_acting` applies here too.
        terminated_early: The body ends half-way at the end of a line, followed by the given
            text (`True`: `terminated early`); gzip and HTTP end cleanly.
        cut_gzip: The gzip stream has half of its lines, each complete, no trailer, and a clean
            HTTP end. An int removes that many last bytes instead (8: only the trailer).
        reset "after": The vendor acts, then the connection is reset without a response.
        reset "mid-body": Half of the body is sent, then the connection is reset.
        truncate: Half of the body is sent, then the connection is closed normally.
        stall: Seconds to wait after half of the body, before the rest is sent.
    """

    vendor: str
    path: str = ""
    method: str | None = None
    times: int | None = 1
    after: int = 0
    probability: float = 1.0
    hold: bool = False
    delay: float = 0.0
    expire_token: bool = False
    reset: Reset | None = None
    status: int | None = None
    impostor: str | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    retry_after: float | str | None = None
    after_acting: bool = False
    terminated_early: bool | str = False
    cut_gzip: bool | int = False
    truncate: bool = False
    stall: float = 0.0
    seen: int = field(default=0, init=False)
    served: int = field(default=0, init=False)
    released: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False)
    _waker: Callable[[Callable[[], object]], object] | None = field(
        default=None,
        init=False,
        repr=False,
    )

    def __post_init__(self) -> None:
        if self.impostor is not None and self.impostor not in IMPOSTORS:
            names = ", ".join(IMPOSTORS)
            raise ValueError(f"No impostor is called {self.impostor!r}; there are: {names}")
        if self.impostor is not None and self.status is not None:
            raise ValueError("A fault has an impostor or a status, not both")

    @property
    def stands_in(self) -> bool:
        """Whether the fault replaces the vendor's response."""
        return self.status is not None or self.impostor is not None

    @classmethod
    def accepted(cls) -> set[str]:
        """Return the keys that describe a fault."""
        return {item.name for item in fields(cls) if item.init}

    def matches(self, vendor: str, method: str, path: str) -> bool:
        """Return whether the fault matches this request."""
        if self.vendor not in {"*", vendor}:
            return False
        if self.method is not None and self.method.upper() != method:
            return False
        if any(mark in self.path for mark in "*["):
            return fnmatch.fnmatchcase(path, self.path)
        return self.path in path

    def release(self) -> None:
        """Release the requests that this fault holds."""
        if self._waker is None:
            self.released.set()
        else:
            self._waker(self.released.set)

    def describe(self) -> str:
        """Return a short description of the fault, for the record and the page."""
        parts = [str(self.status)] if self.status is not None else []
        parts += [f"impostor: {self.impostor}"] if self.impostor else []
        parts += [f"reset {self.reset}"] if self.reset else []
        parts += [
            name.replace("_", " ")
            for name in (
                "hold",
                "delay",
                "expire_token",
                "terminated_early",
                "cut_gzip",
                "truncate",
                "stall",
            )
            if getattr(self, name)
        ]
        return ", ".join(parts) or "headers"

    def response(self, default_body: Callable[[int], Any]) -> web.Response:
        """Return the response that replaces the vendor's; `stands_in` must be true."""
        if self.impostor is not None:
            impostor = IMPOSTORS[self.impostor]
            kind = {"Content-Type": impostor.content_type} if impostor.content_type else None
            return web.Response(body=impostor.body, headers=kind)
        status = self.status or 500
        body = default_body(status) if self.body is None else self.body
        if isinstance(body, bytes):
            return web.Response(status=status, body=body)
        if isinstance(body, str):
            return web.Response(status=status, text=body)
        return web.json_response(body, status=status)

    def alter(self, response: web.Response) -> web.Response:
        """Return the vendor's response with the fault's headers and body changes."""
        if self.terminated_early:
            words = self.terminated_early
            _end_early(response, words if isinstance(words, str) else "terminated early")
        if self.cut_gzip:
            _cut_gzip(response, 0 if self.cut_gzip is True else self.cut_gzip)
        response.headers.update(self.headers)
        if self.retry_after is not None:
            response.headers["Retry-After"] = str(self.retry_after)
        return response


class FaultPlan:
    """The planned faults, matched in the order in which they were added; thread-safe.

    Args:
        seed: The seed of the probabilities.
        waker: Runs a function in the server's thread.
    """

    def __init__(self, seed: int, waker: Callable[[Callable[[], object]], object]) -> None:
        self._seed = seed
        self._waker = waker
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._random = random.Random(seed)

    def add(self, vendor: str, path: str = "", **what: Any) -> Fault:
        """Plan a fault; see `Fault` for the keys. Returns it, to `release()` or to read `served`.

        Raises:
            ValueError: A key is unknown.
        """
        unknown = sorted(set(what) - Fault.accepted())
        if unknown:
            message = f"Unknown keys of a fault: {', '.join(unknown)}"
            raise ValueError(message)
        fault = Fault(vendor=vendor, path=path, **what)
        fault._waker = self._waker  # noqa: SLF001 - the plan alone may know the server's thread
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults, release held requests, and restart the probabilities."""
        with self._lock:
            faults, self._faults = self._faults, []
            self._random = random.Random(self._seed)
        for fault in faults:
            fault.release()

    def match(self, vendor: str, method: str, path: str) -> Fault | None:
        """Return the fault for this request and count it as served."""
        with self._lock:
            for fault in self._faults:
                if fault.times is not None and fault.served >= fault.times:
                    continue
                if not fault.matches(vendor, method, path):
                    continue
                fault.seen += 1
                if fault.seen <= fault.after:
                    continue
                if fault.probability < 1 and self._random.random() >= fault.probability:
                    continue
                fault.served += 1
                return fault
        return None

    def as_list(self) -> list[dict[str, Any]]:
        """Return the plan for the page and the control endpoint."""
        with self._lock:
            return [
                {
                    "vendor": fault.vendor,
                    "path": fault.path,
                    "fault": fault.describe(),
                    "times": fault.times,
                    "served": fault.served,
                }
                for fault in self._faults
            ]


def _plain(response: web.Response) -> bytes:
    body = response.body if isinstance(response.body, bytes) else b""
    if response.headers.get("Content-Encoding") == "gzip":
        return gzip.decompress(body)
    return body


def _first_half(text: bytes) -> bytes:
    lines = text.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return b"".join(line + b"\n" for line in lines[: len(lines) // 2])


def _end_early(response: web.Response, words: str) -> None:
    broken = _first_half(_plain(response)) + words.encode() + b"\n"
    compressed = response.headers.get("Content-Encoding") == "gzip"
    response.body = gzip.compress(broken, compresslevel=1) if compressed else broken


def _cut_gzip(response: web.Response, last_bytes: int) -> None:
    text = _plain(response)
    if last_bytes:
        response.body = gzip.compress(text, compresslevel=1)[:-last_bytes]
    else:
        # A sync flush: all data so far is readable, but the stream has no end.
        stream = zlib.compressobj(1, wbits=31)
        response.body = stream.compress(_first_half(text)) + stream.flush(zlib.Z_SYNC_FLUSH)
    response.headers["Content-Encoding"] = "gzip"


def parse_faults(text: bytes) -> list[dict[str, Any]]:
    """Return the faults described by a JSON object or an array of objects.

    Raises:
        ValueError: The text does not describe faults.
    """
    described = json.loads(text)
    items = described if isinstance(described, list) else [described]
    for item in items:
        unknown = {"?"} if not isinstance(item, dict) else set(item) - Fault.accepted()
        if unknown or "vendor" not in item:
            message = "Each fault is an object with a vendor and keys of Fault"
            raise ValueError(message)
        Fault(**item)
    return items
