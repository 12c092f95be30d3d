"""A minimal target written with the SDK: default validation, batches of a thousand.

Without a URL it discards its batches; with one, it posts them.
"""

from __future__ import annotations

from typing import Any, ClassVar

import requests
from singer_sdk import Target
from singer_sdk import typing as th
from singer_sdk.singerlib.json import serialize_json
from singer_sdk.sinks import BatchSink


class PlainSink(BatchSink):
    """Collects batches of a thousand records."""

    MAX_SIZE_DEFAULT = 1000

    def process_batch(self, context: dict[str, Any]) -> None:
        """Post the batch, if there is a URL."""
        url = self.config.get("url")
        if url:
            messages = [
                {"arcClass": "events", "contextId": record["event_id"], "message": record}
                for record in context["records"]
            ]
            body = serialize_json({"userId": "bench", "messages": messages})
            requests.post(url, data=body, timeout=60).raise_for_status()


class PlainTarget(Target):
    """Discards records, or posts them to a URL."""

    name = "target-plain"
    config_jsonschema: ClassVar = th.PropertiesList(th.Property("url", th.StringType)).to_dict()
    default_sink_class = PlainSink


if __name__ == "__main__":
    PlainTarget.cli()
