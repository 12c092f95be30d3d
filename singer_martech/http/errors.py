"""The errors of a request.

::

    MartechError
    └── HttpError
        ├── RequestRejected        a 4xx status, or another final error response
        │   ├── BodyRejected       other content could be accepted
        │   │   ├── BadRequest             400
        │   │   ├── PayloadTooLarge        413
        │   │   └── UnprocessableContent   422
        │   ├── Unauthorized       401
        │   ├── PaymentRequired    402
        │   ├── Forbidden          403
        │   ├── NotFound           404
        │   ├── MethodNotAllowed   405
        │   └── Conflict           409
        ├── LoginRejected          no access token is issued
        ├── RetriesExhausted       all attempts failed
        ├── RateLimited            429 for too long
        ├── OutcomeUnknown         the vendor may have processed the request
        └── InvalidResponse        the response cannot be read

    AttemptFailed                  raised while a response is read: the request is retried, or
    │                              OutcomeUnknown is raised if it must not be sent twice
    ├── IncompleteBody             the body ends early
    └── UnexpectedContent          a 2xx response that is not the vendor's
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_martech.errors import MartechError
from singer_martech.runtime.redaction import redact

if TYPE_CHECKING:
    from typing_extensions import Self

    from singer_martech.http.response import Response


class HttpError(MartechError):
    """A request failed.

    Attributes:
        status: The HTTP status of the last response, or None if there was none.
        response: The last response, or None.
        reason: The message without the remedy.
        remedy: What the user can do, or empty text.
    """

    def __init__(self, message: str, response: Response | None = None, remedy: str = "") -> None:
        """Redact the message."""
        self.reason = redact(message)
        self.remedy = remedy
        super().__init__(f"{self.reason}; {remedy}" if remedy else self.reason)
        self.response = response
        self.status = None if response is None else response.status

    def with_message(self, message: str) -> Self:
        """Return an error of the same class, for the same response, with another message."""
        return type(self)(message, self.response)

    def with_remedy(self, remedy: str) -> Self:
        """Return an error with another remedy."""
        return type(self)(self.reason, self.response, remedy)


class RequestRejected(HttpError):
    """The vendor rejected the request and would reject it again."""

    @staticmethod
    def by_status(message: str, response: Response) -> RequestRejected:
        """Return an error of the class for the response's status."""
        return _BY_STATUS.get(response.status, RequestRejected)(message, response)


class BodyRejected(RequestRejected):
    """The vendor rejected the content of the request; other content could be accepted."""


class BadRequest(BodyRejected):
    """Status 400."""


class PayloadTooLarge(BodyRejected):
    """Status 413: nothing of the request was accepted."""


class UnprocessableContent(BodyRejected):
    """Status 422."""


class Unauthorized(RequestRejected):
    """Status 401: the credential is missing, wrong or expired."""


class PaymentRequired(RequestRejected):
    """Status 402: the customer's plan does not include the request."""


class Forbidden(RequestRejected):
    """Status 403: the credential does not permit the request."""


class NotFound(RequestRejected):
    """Status 404."""


class MethodNotAllowed(RequestRejected):
    """Status 405."""


class Conflict(RequestRejected):
    """Status 409."""


class LoginRejected(HttpError):
    """No access token is issued. Unlike RequestRejected, this concerns no record."""


class RetriesExhausted(HttpError):
    """All attempts failed. Whether the vendor processed one of them is unknown."""


class RateLimited(HttpError):
    """Responses had status 429 for longer than ``max_rate_limit_wait_seconds``."""


class OutcomeUnknown(HttpError):
    """The vendor may have processed a request that must not be sent twice."""

    @classmethod
    def because(cls, problem: str, response: Response | None = None) -> Self:
        """Return the error for a problem that hides the outcome."""
        return cls(f"{problem}; whether the request was processed is unknown", response)


class InvalidResponse(HttpError):
    """The response is not what the vendor documents."""


class AttemptFailed(Exception):
    """A 2xx response is not a success."""


class IncompleteBody(AttemptFailed):
    """The body ends early."""


class UnexpectedContent(AttemptFailed):
    """The response is not the vendor's, such as the login page of a proxy."""


_BY_STATUS: dict[int, type[RequestRejected]] = {
    400: BadRequest,
    401: Unauthorized,
    402: PaymentRequired,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    413: PayloadTooLarge,
    422: UnprocessableContent,
}
