"""Common parts of mediarithmics responses: token, envelopes, pages, errors."""

from __future__ import annotations

import json
import uuid
from typing import Any, ClassVar

from aiohttp import web

from tests.sandbox.vendor import Vendor, whole_number


class Wire(Vendor):
    """The base of `Mediarithmics`: authorization and response formats."""

    api_token: ClassVar[str] = "api:Vq3sandbox/token+of=mediarithmics"
    organisation_id: ClassVar[str] = "1426"
    datamart_id: ClassVar[str] = "1509"

    def reset(self) -> None:
        """Reset the settings."""
        super().reset()
        self.token_valid = True
        #: Whether lists have their `total`; the vendor does not always send it.
        self.with_total = True
        #: The maximum page size of a list.
        self.max_results = 100

    def credentials(self) -> dict[str, Any]:
        """Return the settings of tap-mediarithmics and target-mediarithmics."""
        return {
            "api_url": self.api_url,
            "api_token": self.api_token,
            "organisation_id": self.organisation_id,
            "datamart_id": self.datamart_id,
        }

    def expire_tokens(self) -> None:
        """Make the token invalid; `token_valid = True` makes it valid again."""
        self.token_valid = False

    def error_body(self, status: int, reason: str) -> Any:
        """Return the envelope of an error with its own id."""
        if status == 404:
            reason = "Resource Not Found"
        return {"status": "error", "error": reason, "error_id": str(uuid.uuid4())}

    def not_found(self) -> web.Response:
        """Return a 404."""
        return self.refuse(404, "Resource Not Found")

    def ok(self, data: Any) -> web.Response:
        """Return the envelope of one resource."""
        return web.json_response({"status": "ok", "data": data})

    def page(self, request: web.Request, items: list[Any], default: int) -> web.Response:
        """Return the requested page of a list."""
        first = whole_number(request.query.get("first_result", "0"))
        most = whole_number(request.query.get("max_results", str(default)))
        if first is None or not most:
            return self.refuse(400, "first_result and max_results are numbers")
        most_results = min(most, self.max_results)
        shown = items[first : first + most_results]
        body = {
            "status": "ok",
            "data": shown,
            "count": len(shown),
            "total": len(items),
            "first_result": first,
            "max_result": most_results,
            "max_results": most_results,
        }
        if not self.with_total:
            del body["total"]
        return web.json_response(body)

    def refused(self, request: web.Request) -> web.Response | None:
        """Return the error for a request without the token, which is sent without a scheme."""
        if self.token_valid and request.headers.get("Authorization") == self.api_token:
            return None
        return self.refuse(401, "Unauthorized")

    def foreign(self, request: web.Request) -> web.Response | None:
        """Return the error for a request to another organisation or datamart."""
        datamart = request.match_info.get("datamart")
        if datamart is not None:
            return None if datamart == self.datamart_id else self.refuse(403, "Forbidden")
        organisation = request.query.get("organisation_id")
        if organisation is None:
            return self.refuse(400, "organisation_id is mandatory")
        return None if organisation == self.organisation_id else self.refuse(403, "Forbidden")

    async def json_body(self, request: web.Request) -> Any:
        """Return the JSON body of a request, or None if it is not JSON or not declared as JSON."""
        if request.content_type != "application/json":
            return None
        try:
            return json.loads(await request.read())
        except (RecursionError, ValueError):
            return None
