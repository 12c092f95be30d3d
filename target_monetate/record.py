"""The command ``target-monetate-record`` prints one record for a person to look at."""

from __future__ import annotations

import json
import logging
import os
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from singer_martech.errors import MartechError
from singer_martech.singer.command import PluginCommand
from target_monetate.client import NoSuchDataset
from target_monetate.rate_limit import rate_limited
from target_monetate.stream_mapping import no_dataset_message
from target_monetate.target import TargetMonetate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_sdk.plugin_base import _ConfigInput

    from target_monetate.dataset import Dataset

_HEADINGS = ("FIELD", "TYPE", "VALUE")


def show(config: _ConfigInput, schema: str, record_id: str) -> None:
    """Print one record of a Monetate dataset, with the types of its fields.

    Monetate permits this for spot checks by a person only, at most once a second: a call that
    comes sooner waits. Do not use it in scripts, in tests, or to read data in bulk.
    """
    target = TargetMonetate(config=config.config, parse_env_config=config.parse_env)
    client = target.client
    try:
        dataset = client.dataset(schema)
    except NoSuchDataset as error:
        raise MartechError(no_dataset_message(client, schema)) from error
    with rate_limited(target.shutdown):
        record = client.record(schema, record_id)
    if record is None:
        raise MartechError(f"the dataset '{schema}' has no record with the id '{record_id}'")
    for line in lines(dataset, record):
        click.echo(line)


def lines(dataset: Dataset, record: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each field of a record, in the order of the dataset."""
    table = [_HEADINGS, *_rows(dataset, record)]
    widths = [max(len(row[column]) for row in table) for column in (0, 1)]
    for name, kind, value in table:
        yield f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {value}".rstrip()


def _rows(dataset: Dataset, record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    known = [
        (name, ", ".join([field.data_type, *field.roles]), _shown(record.get(name)))
        for name, field in dataset.fields.items()
    ]
    unknown = [
        (name, "?", _shown(value)) for name, value in record.items() if name not in dataset.fields
    ]
    return known + unknown


def _shown(value: Any) -> str:
    """Return a value as JSON, which shows its type and escapes control characters."""
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")


def main() -> None:
    """Run the command."""
    level = logging.DEBUG if os.environ.get("LOGLEVEL", "").upper() == "DEBUG" else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s")
    _command()


_command = PluginCommand(
    name="target-monetate-record",
    callback=show,
    help=show.__doc__,
    params=[
        click.Option(
            ["--config"],
            multiple=True,
            required=True,
            callback=TargetMonetate.cb_config,
            help="The configuration file of target-monetate, or ENV.",
        ),
        click.Option(["--schema"], required=True, help="The dataset."),
        click.Option(
            ["--id", "record_id"],
            required=True,
            help="The record's unique key, or its identifier where the dataset has none.",
        ),
    ],
    logger=TargetMonetate.logger,
)

if __name__ == "__main__":
    main()
