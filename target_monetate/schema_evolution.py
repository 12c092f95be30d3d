"""Add missing fields to a dataset, while other processes may do the same."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from singer_martech.errors import MartechError
from singer_martech.http.errors import BadRequest, RequestRejected
from target_monetate.dataset import MAX_FIELDS, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_monetate.client import MonetateClient
    from target_monetate.dataset import Dataset

logger = logging.getLogger(__name__)


class SchemaEvolutionError(MartechError):
    """There would be too many fields, or the vendor rejects them."""


def add_missing_fields(
    client: MonetateClient, dataset: Dataset, types: Mapping[str, str], *, dry_run: bool
) -> Dataset:
    """Add the fields of ``types`` that a dataset does not have, in one request.

    Returns:
        The changed dataset. A field that another process added in the meantime has the type
        given there.

    Raises:
        SchemaEvolutionError: The dataset would have too many fields, or the vendor rejects them.
    """
    while missing := {name: kind for name, kind in types.items() if name not in dataset.fields}:
        _check_room(dataset, missing)
        if dry_run:
            logger.info(
                "dry run: would add to the dataset '%s': %s", dataset.name, _listed(missing)
            )
            return dataset.with_fields(missing)
        try:
            warnings = client.add_fields(dataset.name, missing)
        except RequestRejected as rejection:
            dataset = _reread(client, dataset, missing, rejection)
            continue
        _log_added(dataset, missing, warnings)
        return dataset.with_fields(missing)
    return dataset


def _log_added(dataset: Dataset, fields: Mapping[str, str], warnings: Iterable[str]) -> None:
    logger.info("added to the dataset '%s': %s", dataset.name, _listed(fields))
    for warning in warnings:
        logger.warning("Monetate dataset '%s': %s", dataset.name, warning)


def _listed(fields: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in fields.items())


def _check_room(dataset: Dataset, missing: Mapping[str, str]) -> None:
    count = len(dataset.fields) + len(missing)
    if count > MAX_FIELDS:
        raise SchemaEvolutionError(
            f"the dataset '{dataset.name}' has {len(dataset.fields)} fields; with "
            f"{quoted(missing)} it would have {count}; the maximum is {MAX_FIELDS}: choose "
            "fields with a mapping 'row'"
        )


def _reread(
    client: MonetateClient, dataset: Dataset, missing: Mapping[str, str], rejection: RequestRejected
) -> Dataset:
    """Return the current dataset, if another process added one of the fields."""
    if not isinstance(rejection, BadRequest):
        raise rejection
    now = client.dataset(dataset.name)
    if any(name in now.fields for name in missing):
        return now
    raise SchemaEvolutionError(
        f"the fields {quoted(missing)} cannot be added: {rejection}; add them to the dataset "
        "in Monetate, or leave them out with a mapping 'row'"
    ) from rejection
