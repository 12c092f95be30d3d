"""The checks of ``--check``: token, organisation, datamart, exports, queries and keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from singer_martech.errors import SettingError
from singer_martech.singer.command import Check
from tap_mediarithmics.remedies import names_setting, unknown_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tap_mediarithmics.context import OrganisationContext
    from tap_mediarithmics.export_source import ExportSource


def checks(context: OrganisationContext, sources: Sequence[ExportSource]) -> Iterator[Check]:
    """Yield the checks. None of them writes or launches anything."""
    yield Check("token and organisation", lambda: context.all_exports, is_prerequisite=True)
    if context.datamart_id is not None:
        yield Check(f"datamart {context.datamart_id}", partial(_verify_datamart, context))
    for source in sources:
        yield Check(f"stream '{source.config.stream}'", partial(_verify_source, source))


def _verify_datamart(context: OrganisationContext) -> None:
    with names_setting("datamart_id"):
        context.datamart(str(context.datamart_id)).live_schema_id()


def _verify_source(source: ExportSource) -> None:
    columns = source.verify()
    problems = unknown_keys(source.config, columns) if columns else []
    if problems:
        raise SettingError("; ".join(problems))
