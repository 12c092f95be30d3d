"""Write a raw export with mixpanel-utils; runs in the environment of the clients.

Its base URL is an attribute of the client (`raw_api`), to which it adds `/2.0/export`.

Input: `{"api": URL before /2.0, "api_secret": …, "parameters": {…}, "parsed": true or false}`.
Output: the decompressed body as the server sent it; if ``parsed``, one event per line as the client
parsed it.
"""

from __future__ import annotations

import gzip
import json
import sys

from mixpanel_utils import (  # type: ignore[import-not-found] # in a separate environment
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
        raise SystemExit("The response of the server is not gzip")
    body = gzip.decompress(response.read())
sys.stdout.buffer.write(body)
