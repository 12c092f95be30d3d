"""Failures that name the stream in which they happened."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from singer_martech.errors import MartechError, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def naming(stream: str) -> Iterator[None]:
    """See that the line of a failure within the block names ``stream``."""
    try:
        yield
    except Stopped:
        raise
    except MartechError as error:
        if f"'{stream}'" in str(error):
            raise
        message = f"stream '{stream}': {error}"
        raise MartechError(message) from error
