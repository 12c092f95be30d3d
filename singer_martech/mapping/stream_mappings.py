"""The setting ``streams``: the mapping of each stream, by stream name or glob."""

from __future__ import annotations

import difflib
import fnmatch
import re
from typing import TYPE_CHECKING, Any

from singer_martech.errors import SettingError
from singer_martech.mapping.template import Template
from singer_martech.mapping.undefined import TemplateError
from singer_martech.singer.config_check import json_value, stripped
from singer_martech.values.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_WILDCARDS = "*?["
_WORDS = re.compile(r"[^\W\d_]+|\d+")
_SIMILAR = 0.8


class StreamMappings:
    """Per-stream mappings, found by stream name or glob.

    Args:
        value: The setting: an object keyed by stream, an array of objects that each name
            their ``stream``, or either as JSON text.
        known_keys: The keys that a mapping may have.

    Raises:
        SettingError: A mapping has another shape or an unknown key.
    """

    def __init__(self, value: Any, known_keys: Collection[str]) -> None:
        """Read and check the mappings."""
        self._known_keys = known_keys
        self._mappings = dict(self._entries(json_value(value, "streams")))
        self._unused = set(self._mappings)
        self._unmapped: dict[str, None] = {}

    def __bool__(self) -> bool:
        """Whether there are keys."""
        return bool(self._mappings)

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Iterate over the keys with their mappings."""
        return iter(self._mappings.items())

    def find(self, stream: str) -> Mapping[str, Any] | None:
        """Return the most specific mapping that matches a stream, or None.

        The stream's own name comes before globs; among globs, the one with the most characters
        that are not wildcards.
        """
        matching = [key for key in self._mappings if fnmatch.fnmatchcase(stream, key)]
        self._unused.difference_update(matching, {stream})
        if stream in self._mappings:
            return self._mappings[stream]
        if not matching:
            self._unmapped[stream] = None
            return None
        return self._mappings[max(matching, key=_specificity)]

    def unused_keys(self) -> dict[str, str]:
        """Return the keys that matched no stream so far, each with a hint or empty text."""
        return {
            key: did_you_mean(key, self._unmapped) for key in self._mappings if key in self._unused
        }

    def misspelt_key(self, stream: str) -> str | None:
        """Return a key that matched no stream so far and looks like a misspelling of this one."""
        return next(
            (key for key in self._mappings if key in self._unused and _is_misspelling(key, stream)),
            None,
        )

    def _entries(self, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if isinstance(value, dict):
            pairs = list(value.items())
        elif isinstance(value, list):
            pairs = [_named(item, index) for index, item in enumerate(value)]
        else:
            raise SettingError("setting 'streams' must be an object or an array of objects")
        seen = set()
        for name, mapping in pairs:
            if name in seen:
                raise SettingError(f"setting 'streams': stream '{name}' is mapped twice")
            seen.add(name)
            yield name, self._checked(name, mapping)

    def _checked(self, name: str, mapping: Any) -> Mapping[str, Any]:
        if mapping is None:
            mapping = {}
        if not isinstance(mapping, dict):
            raise SettingError(f"setting 'streams': the mapping of '{name}' must be an object")
        for key, value in mapping.items():
            if key not in self._known_keys:
                raise SettingError(self._unknown(name, key, value))
        return {key: stripped(value) for key, value in mapping.items()}

    def _unknown(self, name: str, key: str, value: Any) -> str:
        hint = did_you_mean(key, self._known_keys)
        if not hint and isinstance(value, dict):
            hint = (
                f"; for a stream named '{name}.{key}', whose dot Meltano turns into nesting, "
                "write 'streams' as an array of objects with a key 'stream'"
            )
        elif not hint:
            hint = f"; known are {', '.join(self._known_keys)}"
        return f"setting 'streams': the mapping of '{name}' has the unknown key '{key}'{hint}"


def compiled(source: Any, stream: str, key: str) -> Template:
    """Compile a value of a stream's mapping as a template, given the key within the mapping.

    Raises:
        SettingError: The value is not a valid template.
    """
    try:
        return Template(source, stream)
    except TemplateError as error:
        raise mapping_error(stream, key, str(error)) from error


def mapping_error(stream: str, key: str, problem: str) -> SettingError:
    """Return the error for a key of a stream's mapping."""
    return SettingError(f"setting 'streams': stream '{stream}', key '{key}': {problem}")


def is_glob(name: str) -> bool:
    """Whether a key of the setting is a glob, which may match several streams."""
    return any(wildcard in name for wildcard in _WILDCARDS)


def _named(item: Any, index: int) -> tuple[str, dict[str, Any]]:
    if not isinstance(item, dict) or not isinstance(item.get("stream"), str):
        raise SettingError(f"setting 'streams[{index}]' must be an object with a key 'stream'")
    return stripped(item["stream"]), {key: value for key, value in item.items() if key != "stream"}


def _is_misspelling(name: str, other: str) -> bool:
    """Whether two names differ by typing errors, rather than by a word or a number."""
    if is_glob(name):
        return False
    words, others = (_WORDS.findall(each.lower()) for each in (name, other))
    if len(words) != len(others):
        return "".join(words) == "".join(others)
    return all(
        word == each
        or (word.isalpha() and difflib.SequenceMatcher(None, word, each).ratio() >= _SIMILAR)
        for word, each in zip(words, others, strict=True)
    )


def _specificity(pattern: str) -> tuple[int, int]:
    return sum(character not in _WILDCARDS for character in pattern), -len(pattern)
