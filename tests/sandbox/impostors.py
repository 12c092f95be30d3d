"""Success responses that do not come from the vendor."""

from __future__ import annotations

import json
from dataclasses import dataclass

_CAPTIVE_PORTAL = """<!DOCTYPE html>
<html><head><title>Welcome</title><meta http-equiv="refresh" content="0;url=/portal"></head>
<body><h1>Accept the terms to use this network</h1></body></html>
"""
_PROXY_LOGIN = """<!DOCTYPE html>
<html><head><title>Sign in</title></head><body>
<form method="post" action="/proxy/login">
<input name="username"><input name="password" type="password"><button>Sign in</button>
</form></body></html>
"""
_HTML = "text/html; charset=utf-8"
_JSON = "application/json"


@dataclass(frozen=True)
class Impostor:
    """A complete response with status 200.

    Attributes:
        body: Its body.
        content_type: Its Content-Type; None for no such header.
    """

    body: bytes
    content_type: str | None


def _page(text: str) -> Impostor:
    return Impostor(text.encode(), _HTML)


def _json(value: object) -> Impostor:
    return Impostor(json.dumps(value).encode(), _JSON)


#: Responses of intermediaries between client and vendor, by the name used in faults.
IMPOSTORS = {
    "captive portal": _page(_CAPTIVE_PORTAL),
    "proxy login": _page(_PROXY_LOGIN),
    # Some proxies return the content type that the client requested for any content.
    "proxy login as JSON": Impostor(_PROXY_LOGIN.encode(), _JSON),
    "empty": Impostor(b"", None),
    "empty JSON": Impostor(b"", _JSON),
    "empty object": _json({}),
    "null": _json(None),
    "error": _json({"error": "upstream unavailable"}),
    "errors": _json({"errors": [{"message": "upstream unavailable"}]}),
    "success false": _json({"success": False, "message": "upstream unavailable"}),
    "status error": _json({"status": "error", "error": "upstream unavailable", "error_id": "0"}),
    "status 503": _json({"status": 503, "title": "Service Unavailable"}),
    "top level error": _json({"topLevelError": "upstream unavailable"}),
    "meta error": _json({"meta": {"code": 503, "errors": [{"message": "upstream"}]}, "data": {}}),
}
