"""A minimal tap written with the SDK in thirty lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import requests
from singer_sdk import Stream, Tap
from singer_sdk import typing as th

if TYPE_CHECKING:
    from collections.abc import Iterator


class EventsStream(Stream):
    """The raw events."""

    name = "events"
    schema = th.PropertiesList(
        th.Property("event_id", th.StringType),
        th.Property("event", th.StringType),
        th.Property("time", th.IntegerType),
        th.Property("distinct_id", th.StringType),
        th.Property("properties", th.ObjectType(additional_properties=True)),
    ).to_dict()
    primary_keys = ("event_id",)

    def get_records(self, context: Any) -> Iterator[dict[str, Any]]:
        """Read the body line by line."""
        del context
        with requests.get(self.config["url"], stream=True, timeout=60) as response:
            for line in response.iter_lines(chunk_size=1 << 16):
                event = json.loads(line)
                properties = event["properties"]
                yield {
                    "event_id": properties["$insert_id"],
                    "event": event["event"],
                    "time": properties["time"],
                    "distinct_id": properties["distinct_id"],
                    "properties": properties,
                }


class PlainTap(Tap):
    """Reads the events from a URL."""

    name = "tap-plain"
    config_jsonschema: ClassVar = th.PropertiesList(th.Property("url", th.StringType)).to_dict()

    def discover_streams(self) -> list[Stream]:
        """Return the one stream."""
        return [EventsStream(self)]


if __name__ == "__main__":
    PlainTap.cli()
