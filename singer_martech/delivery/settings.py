"""The settings that all targets share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from singer_martech.delivery.ledger_settings import ledger_settings

if TYPE_CHECKING:
    from collections.abc import Sequence


def delivery_settings(
    *,
    max_request_rows: int,
    max_request_bytes: int,
    parallel_requests: int = 4,
    deletes: Sequence[str] = ("skip", "reject"),
) -> list[th.Property[Any]]:
    """Declare the settings that all targets share, given defaults and the values of ``deletes``."""
    return [
        th.Property(
            "streams",
            th.CustomType({"type": ["object", "array", "string", "null"]}),
            default={},
            title="Stream mappings",
            description=(
                "Mapping per stream name or glob; the most specific name wins. An object keyed by "
                "stream, an array of objects that each have a key 'stream', or either as JSON text."
            ),
        ),
        th.Property(
            "max_request_rows",
            th.IntegerType(minimum=1),
            default=max_request_rows,
            description="Maximum number of records per request.",
        ),
        th.Property(
            "max_request_bytes",
            th.IntegerType(minimum=1),
            default=max_request_bytes,
            description="Maximum size of a request body, in bytes.",
        ),
        th.Property(
            "parallel_requests",
            th.IntegerType(minimum=1, maximum=64),
            default=parallel_requests,
            description=(
                "Number of requests in flight at once. Records of one key are never in flight "
                "together and arrive in order."
            ),
        ),
        th.Property(
            "max_rejected_records",
            th.IntegerType(minimum=0),
            default=0,
            description="Number of rejected records above which the run fails.",
        ),
        th.Property(
            "reject_path",
            th.StringType,
            default="rejects",
            description="Folder of the reject reports.",
        ),
        th.Property(
            "summary_path",
            th.StringType,
            description=(
                "Folder, or file whose name ends in .json, into which each run writes its summary "
                "for singer-martech-report. By default none is written."
            ),
        ),
        th.Property(
            "deletes",
            th.StringType,
            allowed_values=list(deletes),
            default="skip",
            description=(
                "Treatment of records whose _sdc_deleted_at is set: leave them out and count "
                "them (skip), put them into the reject report (reject)"
                + (", or delete them at the vendor (apply)." if "apply" in deletes else ".")
            ),
        ),
        th.Property(
            "keep_sdc_columns",
            th.BooleanType,
            default=False,
            title="Keep _sdc columns",
            description=(
                "Send the seven _sdc_ columns that singer-sdk adds (such as _sdc_received_at) with "
                "the whole record. By default they are left out, unless the stream's SCHEMA has "
                "them as key or as required."
            ),
        ),
        th.Property(
            "dry_run",
            th.BooleanType,
            default=False,
            description=(
                "Map, validate and size everything, show the first request of each stream, and "
                "send nothing."
            ),
        ),
        th.Property(
            "checkpoint_interval_seconds",
            th.NumberType(exclusive_minimum=0),
            default=60,
            title="Checkpoint interval",
            description=(
                "Longest time between two STATE messages, in seconds, when their records are "
                "delivered; also while no input comes."
            ),
        ),
        *ledger_settings(),
    ]
