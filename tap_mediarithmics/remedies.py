"""Errors that name the setting to check."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from singer_martech.http.errors import Forbidden, NotFound
from singer_martech.values.wording import did_you_mean
from tap_mediarithmics.export_config import ADDED_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tap_mediarithmics.export_config import ExportConfig


@contextmanager
def names_setting(setting: str) -> Iterator[None]:
    """Add the setting to check to the vendor's statuses 403 and 404."""
    try:
        yield
    except Forbidden as error:
        raise error.with_remedy(f"check settings 'api_token' and '{setting}'") from error
    except NotFound as error:
        if error.remedy:
            raise
        is_first = setting in {"datamart_id", "organisation_id"}  # a wrong address fails here
        check = f"settings 'api_url' and '{setting}'" if is_first else f"setting '{setting}'"
        raise error.with_remedy(f"check {check}") from error


def unknown_keys(config: ExportConfig, columns: Collection[str]) -> list[str]:
    """Return a line for each key of a stream that is not among its columns."""
    known = {*columns, *ADDED_COLUMNS}
    keys = [("primary_keys", key) for key in config.primary_keys]
    if config.replication_key:
        keys.append(("replication_key", config.replication_key))
    lines = []
    for setting, key in keys:
        if key not in known:
            lines.append(
                f"stream '{config.stream}', setting '{setting}': the export has no column "
                f"'{key}'{did_you_mean(key, known)}"
            )
    return lines
