"""Writes a raw export with mixpanel-utils; runs in the environment of the clients.

Its base URL is an attribute of the client (`raw_api`), to which it adds `/2.0/export`.

Input: `{"api": URL before /2.0, "api_secret": …, "parameters": {…}, "parsed": true or false}`.
Output: the body just as the server made it, unpacked; or, parsed, one event a line as the client
itself has read it.
"""

from __future__ import annotations

import gzip
import json
import sys

from mixpanel_utils import (  # type: ignore[import-not-found] # in an environment of its own
    MixpanelUtils,
)

given = json.load(sys.stdin)
client = MixpanelUtils(given["api_secret"])
client.raw_api = given["api"]
if given["parsed"]:
    events = client.query_export(given["parameters"], add_gzip_header=True)
    body = b"".join(json.dumps(event).encode() + b"\n" for event in events)
else:
    response = client.query_export(given["parameters"], add_gzip_header=True, raw_stream=True)
    if response.headers["Content-Encoding"] != "gzip":
        raise SystemExit("The server did not answer with gzip")
    body = gzip.decompress(response.read())
sys.stdout.buffer.write(body)
