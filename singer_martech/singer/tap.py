"""The base of both taps: their catalog and their STATE."""

from __future__ import annotations

import io
import json
from typing import IO, TYPE_CHECKING, Any

from singer_sdk import Tap

from singer_martech._compat import override
from singer_martech.errors import SettingError
from singer_martech.singer.catalog import check_catalog
from singer_martech.singer.command import Check
from singer_martech.singer.json_file import parse_object, read_text
from singer_martech.singer.plugin import MartechPlugin
from singer_martech.singer.state import unwrap_state
from singer_martech.singer.stream_maps import unmatched_maps
from singer_martech.singer.writer import write_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

_UNUSED_BOOKMARK_KEYS = frozenset({"partitions", "progress_markers"})
"""Bookmark keys that these taps never write; the SDK fails if their values are invalid."""


class MartechTap(MartechPlugin, Tap):
    """A tap with the project's settings, signals and exit status."""

    def __init__(self, **options: Any) -> None:
        """Check the configuration and read catalog and STATE; nothing is read yet."""
        super().__init__(**options)
        if self._mapper is not None:  # not in discovery, nor in a check
            self._warn_about_catalog()

    @override
    @classmethod
    def invoke(
        cls,
        *,
        state: IO[str] | None = None,
        catalog: IO[str] | None = None,
        **options: Any,
    ) -> None:
        catalog = _checked_json(catalog, "--catalog")
        super().invoke(state=_checked_json(state, "--state"), catalog=catalog, **options)

    @override
    @classmethod
    def for_check(
        cls, config: dict[str, Any], *, catalog: IO[str] | None = None, **options: Any
    ) -> Self:
        return cls(
            config=config,
            catalog=None if catalog is None else json.load(catalog),
            setup_mapper=False,  # it would run discovery, which may launch an execution
        )

    @override
    def checks(self) -> Iterator[Check]:
        """Yield a check of the catalog given with ``--catalog``."""
        if self.input_catalog is not None:
            yield Check("catalog and stream maps", self._check_stream_maps)

    def _check_stream_maps(self) -> None:
        MartechTap.setup_mapper(self)  # uses the given catalog, without discovery
        for problem in unmatched_maps(self.config, list(self.catalog), "the catalog"):
            raise SettingError(problem)

    def selection_remedy(self) -> str:
        """Return what to do if no stream is selected."""
        names = ", ".join(f"'{name}'" for name in self.streams)
        return f"select one of {names or 'its streams'}"

    def _warn_about_catalog(self) -> None:
        """Warn about stream maps without a stream, and about a catalog that selects nothing."""
        for problem in unmatched_maps(self.config, list(self.catalog), "the catalog"):
            self.logger.warning("%s", problem)
        if not any(stream.selected for stream in self.streams.values()):
            self.logger.warning(
                "the catalog selects no stream of this tap, so nothing is read; %s",
                self.selection_remedy(),
            )

    @override
    def setup_mapper(self) -> None:
        super().setup_mapper()
        self.mapper.register_raw_streams_from_catalog(self.catalog)

    @override
    def run_discovery(self) -> str:
        text = self.catalog_json_text
        write_output(f"{text}\n".encode())
        return text

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        """Load a STATE, which may be wrapped as by ``meltano state get``.

        Raises:
            MartechError: It is not the STATE of a Singer tap.
        """
        state = unwrap_state(state)
        bookmarks = {
            stream: {
                name: value for name, value in bookmark.items() if name not in _UNUSED_BOOKMARK_KEYS
            }
            for stream, bookmark in (state.get("bookmarks") or {}).items()
        }
        super().load_state({**state, "bookmarks": bookmarks})


def _checked_json(file: IO[str] | None, option: str) -> IO[str] | None:
    """Validate a JSON file early, so that an error names the option."""
    if file is None:
        return None
    label = f"the file given with {option}"
    text = read_text(file, label)
    value = parse_object(text, label)
    if option == "--catalog":
        check_catalog(value, label)
    return io.StringIO(text)
