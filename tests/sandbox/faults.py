"""The fault plan: which requests go wrong, and how."""

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
    """What happens to the requests it matches.

    Which requests:
        vendor: The vendor's name, or `*`.
        path: Part of the path, or a glob when it holds `*` or `[`. Empty: every path.
        method: The HTTP method; None: any.
        times: How many requests it hits; None: every one.
        after: How many matching requests pass unharmed first.
        probability: The chance of a matching request to be hit, drawn from the plan's seed.

    What happens, in this order:
        hold: The request waits until `release()` (or the plan is cleared).
        delay: Seconds of silence before anything is done.
        expire_token: Every token handed out so far stops being valid; the request then goes on.
        reset "before": The connection is reset before the body is read or anything is done.
        status, body, headers, retry_after: This answer instead of the vendor's (a body that is
            no text is sent as JSON; without one the vendor's own error body is sent). With
            `after_acting` the vendor acts first, so what was sent has landed all the same.
            Without a status, `headers` and `retry_after` are added to the vendor's own answer.
        impostor: One of `IMPOSTORS` by its name, such as `captive portal`: an answer with status
            200 that does not come from the vendor. `after_acting` counts here too.
        terminated_early: The answer breaks off half-way at a line's end, its last line being the
            text given (`True`: `terminated early`); gzip and HTTP end cleanly.
        cut_gzip: The gzip stream ends without its trailer and with half of its lines, each of
            them whole, and a clean HTTP end. An int cuts that many last bytes off instead
            (8: everything is there but the trailer).
        reset "after": The vendor acts, then the connection is reset without an answer.
        reset "mid-body": Half of the answer's body, then a reset.
        truncate: Half of the answer's body, then an ordinary close.
        stall: Seconds of silence after half of the answer's body, which then goes on.
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
            raise ValueError("A fault answers with an impostor or with a status, not with both")

    @property
    def stands_in(self) -> bool:
        """Whether the answer is the fault's own, not the vendor's."""
        return self.status is not None or self.impostor is not None

    @classmethod
    def accepted(cls) -> set[str]:
        """Return the names that a fault may be described with."""
        return {item.name for item in fields(cls) if item.init}

    def matches(self, vendor: str, method: str, path: str) -> bool:
        """Tell whether the fault speaks of this request at all."""
        if self.vendor not in {"*", vendor}:
            return False
        if self.method is not None and self.method.upper() != method:
            return False
        if any(mark in self.path for mark in "*["):
            return fnmatch.fnmatchcase(path, self.path)
        return self.path in path

    def release(self) -> None:
        """Let the requests that this fault holds go on."""
        if self._waker is None:
            self.released.set()
        else:
            self._waker(self.released.set)

    def describe(self) -> str:
        """Return the fault in a few words, for the record and the page."""
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

    def answer(self, default_body: Callable[[int], Any]) -> web.Response:
        """Return the answer that stands in for the vendor's; `stands_in` must be true."""
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
        """Return the answer with the fault's headers and broken body."""
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
    """The faults to come, first added first tried; safe to use from any thread.

    Args:
        seed: What the probabilities are drawn from.
        waker: Runs a function in the server's thread.
    """

    def __init__(self, seed: int, waker: Callable[[Callable[[], object]], object]) -> None:
        self._seed = seed
        self._waker = waker
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._random = random.Random(seed)

    def add(self, vendor: str, path: str = "", **what: Any) -> Fault:
        """Plan a fault; see `Fault` for the words. Returns it, to `release()` or count `served`.

        Raises:
            ValueError: A word that no fault knows.
        """
        unknown = sorted(set(what) - Fault.accepted())
        if unknown:
            message = f"A fault knows no {', '.join(unknown)}"
            raise ValueError(message)
        fault = Fault(vendor=vendor, path=path, **what)
        fault._waker = self._waker  # noqa: SLF001 - the plan alone may know the server's thread
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget every fault, let held requests go on, and start the probabilities afresh."""
        with self._lock:
            faults, self._faults = self._faults, []
            self._random = random.Random(self._seed)
        for fault in faults:
            fault.release()

    def match(self, vendor: str, method: str, path: str) -> Fault | None:
        """Return the fault that hits this request, counting it as served."""
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
        """Return the plan for the page and the control address."""
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
        # A flush without an end: everything sent so far can be read, and nothing follows it.
        stream = zlib.compressobj(1, wbits=31)
        response.body = stream.compress(_first_half(text)) + stream.flush(zlib.Z_SYNC_FLUSH)
    response.headers["Content-Encoding"] = "gzip"


def parse_faults(text: bytes) -> list[dict[str, Any]]:
    """Return the faults described by a JSON object or array of objects.

    Raises:
        ValueError: The text describes no faults.
    """
    described = json.loads(text)
    items = described if isinstance(described, list) else [described]
    for item in items:
        unknown = {"?"} if not isinstance(item, dict) else set(item) - Fault.accepted()
        if unknown or "vendor" not in item:
            message = "Each fault is an object with a vendor and the words of Fault"
            raise ValueError(message)
        Fault(**item)
    return items
