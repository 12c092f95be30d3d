"""Adding the fields that a dataset lacks, beside other processes that may do the same."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from singer_martech.errors import MartechError
from singer_martech.http.errors import BadRequest, RequestRejected
from target_monetate.dataset import MOST_FIELDS, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_monetate.client import MonetateClient
    from target_monetate.dataset import Dataset

logger = logging.getLogger(__name__)


class SchemaEvolutionError(MartechError):
    """The fields would be too many, or the vendor refuses them."""


def add_missing_fields(
    client: MonetateClient, dataset: Dataset, types: Mapping[str, str], *, dry_run: bool
) -> Dataset:
    """Add the fields of ``types`` that a dataset does not have, all in one request.

    Args:
        client: Reads and changes datasets.
        dataset: The dataset as it stands.
        types: The data type of each field that is wanted.
        dry_run: Add nothing, but go on as if.

    Returns:
        The dataset as it stands then. A field that another process has added meanwhile
        has the type that it got there.

    Raises:
        SchemaEvolutionError: They would be more than a dataset may have, or they are refused.
    """
    while missing := {name: kind for name, kind in types.items() if name not in dataset.fields}:
        _check_room(dataset, missing)
        added = ", ".join(f"{name} ({kind})" for name, kind in missing.items())
        if dry_run:
            logger.info("dry run: would add to the dataset '%s': %s", dataset.name, added)
            return dataset.with_fields(missing)
        try:
            warnings = client.add_fields(dataset.name, missing)
        except RequestRejected as rejection:
            dataset = _as_others_left_it(client, dataset, missing, rejection)
            continue
        logger.info("added to the dataset '%s': %s", dataset.name, added)
        for warning in warnings:
            logger.warning("Monetate dataset '%s': %s", dataset.name, warning)
        return dataset.with_fields(missing)
    return dataset


def _check_room(dataset: Dataset, missing: Mapping[str, str]) -> None:
    count = len(dataset.fields) + len(missing)
    if count > MOST_FIELDS:
        raise SchemaEvolutionError(
            f"the dataset '{dataset.name}' has {len(dataset.fields)} fields; with "
            f"{quoted(missing)} it would have {count}, but {MOST_FIELDS} is the most: choose "
            "fields with a mapping 'row'"
        )


def _as_others_left_it(
    client: MonetateClient, dataset: Dataset, missing: Mapping[str, str], rejection: RequestRejected
) -> Dataset:
    """Read the dataset again, since a field may be refused because it is there by now."""
    if not isinstance(rejection, BadRequest):
        raise rejection
    now = client.dataset(dataset.name)
    if any(name in now.fields for name in missing):
        return now
    raise SchemaEvolutionError(
        f"the fields {quoted(missing)} cannot be added: {rejection}; add them to the dataset by "
        "hand, or leave them out with a mapping 'row'"
    ) from rejection
