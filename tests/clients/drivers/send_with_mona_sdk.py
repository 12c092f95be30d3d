"""Send messages with mona-sdk; runs in the environment of the clients.

The SDK reads its addresses from environment variables, so it runs unmodified:
`MONA_SDK_OVERRIDE_REST_API_HOST` (a host, to which the SDK adds the name of the endpoint),
`MONA_SDK_SHOULD_USE_SSL`, `MONA_SDK_AUTH_API_TOKEN_URL` and `MONA_SDK_REFRESH_TOKEN_URL`.

Input: `{"batches": [[…, …], …], "options": {…}}`, where each message is an object of the
arguments of `MonaSingleMessage`, and the options are arguments of `export_batch`.
Output: an array of what the SDK returned for each batch.
"""

from __future__ import annotations

import json
import sys

from mona_sdk import (  # type: ignore[import-not-found] # in a separate environment
    Client,
    MonaSingleMessage,
)

given = json.load(sys.stdin)
client = Client(raise_authentication_exceptions=True)
results = [
    client.export_batch([MonaSingleMessage(**item) for item in batch], **given.get("options", {}))
    for batch in given["batches"]
]
json.dump(results, sys.stdout)
