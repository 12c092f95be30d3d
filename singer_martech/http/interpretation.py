"""Interpret a response: an unexpected value in it is an error of this request only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_martech.errors import MartechError
from singer_martech.http.errors import AttemptFailed, InvalidResponse, OutcomeUnknown
from singer_martech.runtime.redaction import redacted_head

if TYPE_CHECKING:
    from types import TracebackType

    from singer_martech.http.response import Response

_NOT_ABOUT_VALUES = (AttemptFailed, MartechError, MemoryError, OSError)
_REASON_CHARACTERS = 200


class Interpreting:
    """A context manager for the code that reads the values of a response.

    Whatever that code raises for a value is raised as an error of the request. Errors of the
    machine, such as MemoryError, pass.

    Args:
        response: The response, of which the vendor has processed the request.
        idempotent: False if the request must not be sent twice.

    Raises:
        InvalidResponse: The response cannot be interpreted.
        OutcomeUnknown: It cannot, and the request must not be sent twice.
    """

    def __init__(self, response: Response, *, idempotent: bool = True) -> None:
        self._response = response
        self._idempotent = idempotent

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raise the error of the request in place of another one."""
        if isinstance(error, Exception) and not isinstance(error, _NOT_ABOUT_VALUES):
            raise self._error(error) from error

    def _error(self, error: Exception) -> InvalidResponse | OutcomeUnknown:
        response = self._response
        reason = redacted_head(f"{type(error).__name__}: {error}", _REASON_CHARACTERS)
        message = (
            f"{response.label}: the response (status {response.status}) cannot be interpreted "
            f"({reason}): {response.head}"
        )
        if self._idempotent:
            return InvalidResponse(message, response)
        return OutcomeUnknown.because(message, response)
