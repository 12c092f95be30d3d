"""A client of robotmia's raw event export, independent of Singer.

from datetime import date
from tap_robotmia.client import RobotmiaClient

with RobotmiaClient("YOUR_API_SECRET").export(date(2018, 2, 11), date(2018, 2, 11)) as export:
    for lines in export.blocks():
        print(b"".join(lines).decode())
"""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from typing import IO, TYPE_CHECKING, cast

from singer_martech.errors import MartechError
from singer_martech.http.auth import HeaderAuth
from singer_martech.http.client import HttpClient
from singer_martech.http.errors import (
    BadRequest,
    Forbidden,
    HttpError,
    MethodNotAllowed,
    NotFound,
    PaymentRequired,
    RateLimited,
    RequestRejected,
    RetriesExhausted,
    Unauthorized,
)
from singer_martech.http.settings import HttpSettings
from singer_martech.runtime.redaction import register_basic_auth
from tap_robotmia.body import Body, BodyTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from typing_extensions import Self

    from singer_martech.runtime.shutdown import ShutdownSignal

DEFAULT_API_URL = "https://data.robotmia.com/api/2.0"
REQUEST_TIMEOUT_SECONDS = 600
"""Large exports take some minutes to start (vendor page)."""


_SETTING_BY_WORD = (
    ("where", "where"),
    ("expression", "where"),
    ("properties", "where"),
    ("event", "events"),
    ("from_date", "start_date"),
    ("to_date", "end_date"),
)
"""The setting to check, by a word in the API's reason; the first match counts."""


class ExportFailed(MartechError):
    """An export could not be received."""


class InvalidCredential(ExportFailed):
    """The API rejected the secret."""


class NoPlanAccess(ExportFailed):
    """The project's plan does not include the export API."""


class FutureDate(ExportFailed):
    """The last day has not begun in the project's time zone."""


class Export:
    """A complete export. It holds a temporary file until it is closed.

    Attributes:
        from_date: The first day, in the project's time zone.
        to_date: The last day, inclusive.
        requested_at: When it was requested. Later events may be missing.
        received_at: When it was received.
    """

    def __init__(self, from_date: date, to_date: date, requested_at: datetime, body: Body) -> None:
        """Take ownership of ``body``."""
        self.from_date = from_date
        self.to_date = to_date
        self.requested_at = requested_at
        self.received_at = datetime.now(timezone.utc)
        self._body = body

    def __enter__(self) -> Self:
        """Return the export."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the lines in blocks; each line is one JSON event."""
        return self._body.blocks()

    def close(self) -> None:
        """Delete the temporary file."""
        self._body.close()


class RobotmiaClient:
    """Exports raw events.

    Args:
        api_secret: The project's API secret.
        api_url: The base URL of the API.
        http: Timeouts and retries.
        shutdown: Ends waits when the run is asked to end.
        pool_size: Maximum exports at once.
    """

    def __init__(
        self,
        api_secret: str,
        api_url: str = DEFAULT_API_URL,
        *,
        http: HttpSettings | None = None,
        shutdown: ShutdownSignal | None = None,
        pool_size: int = 10,
    ) -> None:
        self._url = f"{api_url.rstrip('/')}/export/"
        self._http = HttpClient(
            http or HttpSettings(request_timeout_seconds=REQUEST_TIMEOUT_SECONDS),
            auth=_basic_auth(api_secret),
            shutdown=shutdown,
            pool_size=pool_size,
        )

    def export(
        self,
        from_date: date,
        to_date: date,
        *,
        events: Sequence[str] | None = None,
        where: str | None = None,
    ) -> Export:
        """Download the events of some days.

        Args:
            from_date: The first day, in the project's time zone.
            to_date: The last day, inclusive.
            events: The names of the events; None for all.
            where: A filter in the API's expression language.

        Raises:
            InvalidCredential: The API rejected the secret.
            NoPlanAccess: The plan does not include the export API.
            FutureDate: ``to_date`` is after today in the project.
            ExportFailed: The API rejected the request, or all attempts failed.
            BodyTooLarge: The response exceeds the limits of an export.
            DiskFull: There is no room for the temporary file.
            Stopped: The run was asked to end.
        """
        label = f"the export of {format_days(from_date, to_date)}"
        form = _form(from_date, to_date, events, where)
        requested_at = datetime.now(timezone.utc)
        body = Body(label)
        try:
            self._http.download(
                "POST",
                self._url,
                label=label,
                data=form,
                headers={"Accept-Encoding": "gzip"},
                into=cast("IO[bytes]", body),
                check=body.check,
            )
        except (BodyTooLarge, HttpError) as error:
            received = body.size
            body.close()
            raise _export_error(error, label, received) from error
        except BaseException:
            body.close()
            raise
        return Export(from_date, to_date, requested_at, body)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


def _form(
    from_date: date, to_date: date, events: Sequence[str] | None, where: str | None
) -> dict[str, str]:
    form = {"from_date": from_date.isoformat(), "to_date": to_date.isoformat()}
    if events:
        form["event"] = json.dumps(list(events))
    if where:
        form["where"] = where
    return form


def _basic_auth(api_secret: str) -> HeaderAuth:
    """Return basic authentication: the API secret as the user, no password."""
    api_secret = api_secret.strip()
    register_basic_auth(api_secret)
    return HeaderAuth("Basic " + base64.b64encode(f"{api_secret}:".encode()).decode())


def format_days(from_date: date, to_date: date) -> str:
    """Return ``2018-02-11``, or ``2018-02-11 to 2018-02-17``."""
    if from_date == to_date:
        return from_date.isoformat()
    return f"{from_date.isoformat()} to {to_date.isoformat()}"


def _export_error(error: BodyTooLarge | HttpError, label: str, received: int) -> MartechError:
    """Return the error for the user; ``received`` is the size of the last body."""
    if isinstance(error, BodyTooLarge):
        return BodyTooLarge(f"{label}: {error}")
    if isinstance(error, RequestRejected):
        return _rejection(error, label)
    if isinstance(error, RetriesExhausted) and error.response is None and not received:
        if "'api_url'" in str(error):  # there was no connection
            return ExportFailed(str(error))
        return ExportFailed(
            f"{error}; check setting 'api_url', and raise 'request_timeout_seconds' if the export "
            "only takes longer to start"
        )
    if isinstance(error, RateLimited | RetriesExhausted):
        return ExportFailed(f"{error}; nothing of it was written")
    return ExportFailed(str(error))


def _rejection(error: RequestRejected, label: str) -> ExportFailed:
    reason = "" if error.response is None else error.response.head
    words, status = reason.lower(), error.status
    if isinstance(error, (Unauthorized, Forbidden)) or "unable to authenticate" in words:
        return InvalidCredential(
            f"{label}: the API rejected setting 'api_secret' (status {status}): use the API "
            "secret from the project's settings, not its token"
        )
    if isinstance(error, PaymentRequired):
        return NoPlanAccess(
            f"{label}: the project's plan does not include the raw export API (status {status}); "
            "ask the vendor to enable it"
        )
    if isinstance(error, BadRequest) and "later than today" in words:
        return FutureDate(f"{label} was rejected because that day has not begun in the project")
    if isinstance(error, (NotFound, MethodNotAllowed)):
        return ExportFailed(
            f"{label}: no export API at setting 'api_url' (status {status}): it must be the base "
            f"URL, such as {DEFAULT_API_URL}"
        )
    if isinstance(error, BadRequest):
        setting = next((name for word, name in _SETTING_BY_WORD if word in words), None)
        check = f"check setting '{setting}'" if setting else "check settings 'where' and 'events'"
        return ExportFailed(f"{label} was rejected with status {status}: {reason}; {check}")
    return ExportFailed(str(error))
