"""The mapping of one stream: its dataset, and the fields of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.errors import MartechError
from singer_martech.mapping.stream_mappings import compiled, mapping_error
from singer_martech.singer.config_check import boolean
from singer_martech.values.wording import did_you_mean
from target_monetate.client import NoSuchDataset
from target_monetate.dataset import PRIVACY_TYPE, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_monetate.client import MonetateClient
    from target_monetate.dataset import Dataset

_MAX_NAMES = 30


def check_mapping(stream: str, mapping: Mapping[str, Any]) -> None:
    """Check a mapping before the first record.

    Raises:
        SettingError: It cannot be used; the message names stream and key.
    """
    schema, row = mapping.get("schema"), mapping.get("row")
    if schema is not None:
        if not isinstance(schema, str) or not schema.strip():
            raise mapping_error(stream, "schema", "must be the name of a dataset")
        if compiled(schema, stream, "schema").fields != set():
            raise mapping_error(
                stream, "schema", "is the same for all records: only {{ stream }} is allowed"
            )
    if row is not None:
        if not isinstance(row, (dict, str)) or not row:
            raise mapping_error(stream, "row", "must be an object, or a template that gives one")
        compiled(row, stream, "row")
    if not isinstance(_allows_append(mapping), bool):
        raise mapping_error(stream, "allow_append", "must be true or false")


def dataset_name(stream: str, mapping: Mapping[str, Any]) -> str:
    """Return the name of a stream's dataset."""
    schema = mapping.get("schema")
    return stream if schema is None else str(compiled(schema, stream, "schema")({})).strip()


def usable_dataset(
    client: MonetateClient, stream: str, name: str, mapping: Mapping[str, Any]
) -> Dataset:
    """Return a dataset that rows may be sent to.

    Raises:
        MartechError: There is no such dataset, or its rows must not be sent.
    """
    try:
        dataset = client.dataset(name)
    except NoSuchDataset as error:
        message = no_dataset_message(client, name)
        raise MartechError(
            f"stream '{stream}': {message}; name one with the mapping's key 'schema'"
        ) from error
    if dataset.type == PRIVACY_TYPE:
        raise MartechError(
            f"stream '{stream}': the dataset '{name}' is of the type {PRIVACY_TYPE}: every row "
            "sent to it erases its customer from all datasets, so nothing is loaded into it"
        )
    if dataset.unique_key is None and not _allows_append(mapping):
        raise MartechError(
            f"stream '{stream}': the dataset '{name}' has no unique key, so every row is added, "
            "even one that is sent again after a failed run; to allow that, set 'allow_append' "
            "to true in the stream's mapping"
        )
    return dataset


def check_row_fields(dataset: Dataset, row: Any) -> None:
    """Check that a dataset has every field of a mapping's ``row``.

    Raises:
        MartechError: It lacks some.
    """
    unknown = [name for name in row if name not in dataset.fields] if isinstance(row, dict) else []
    if unknown:
        hints = "".join(did_you_mean(name, dataset.fields) for name in unknown)
        raise MartechError(
            f"the mapping's 'row' has {quoted(unknown)}, which the dataset '{dataset.name}' does "
            f"not have{hints}"
        )


def no_dataset_message(client: MonetateClient, name: str) -> str:
    """Return the message for a missing dataset, with the names of the existing ones."""
    names = client.dataset_names()
    shown = quoted(names[:_MAX_NAMES]) or "none"
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"Monetate has no dataset '{name}'; there are: {shown}{more}{did_you_mean(name, names)}"


def _allows_append(mapping: Mapping[str, Any]) -> object:
    given = mapping.get("allow_append")
    return False if given is None or given == "" else boolean(given)
