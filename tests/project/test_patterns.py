"""Every regular expression takes linear time and little memory, on any text."""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any, AnyStr

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGES = (
    "singer_martech",
    "tap_robotmia",
    "tap_mediarithmics",
    "target_mona",
    "target_monetate",
    "target_mediarithmics",
)
REPEATS = 20_000
MOST_SECONDS = 0.3
"""A linear pattern takes some milliseconds, a quadratic one takes seconds."""
MOST_ATTEMPTS = 5
MOST_BYTES = 45
"""Per character. An unbounded group with alternatives keeps some 150 bytes for each repetition."""

#: The slowest texts of each pattern: a start, a repeated part, and an end.
WORST_CASES: Mapping[str, list[tuple[str, str, str]]] = {
    "singer_martech.cli.backfill.shard._NAME": [("", "a", "/")],
    "singer_martech.cli.backfill.shard._OUTSIDE_OF_A_NAME": [("", "/", "a"), ("", "/a", "")],
    "singer_martech.delivery.bisect._IDENTIFIERS": [
        ("", "a", " "),
        ("", "-", " "),
        ("", "a1 ", ""),
    ],
    "singer_martech.mapping.metadata_columns._LEADING": [
        ("{", " ", "/"),
        ("{", '"_sdc_a":1,', '"_sdc_'),
        ('{"_sdc_a":', "1", "/"),
        ('{"_sdc_a":"', "a", ""),
        ('{"_sdc_a":1', " ", "/"),
    ],
    "singer_martech.delivery.mapping_review._FIELD_IN_BRACES": [
        ("", "{", "/"),
        ("{", "a", "/"),
        ("{", " ", "/"),
        ("{a", " ", "/"),
    ],
    "singer_martech.delivery.mapping_review._NAME": [
        ("", "a", "/"),
        ("", "{", ""),
        ("", ".a", "/"),
    ],
    "singer_martech.mapping.stream_mappings._WORDS": [("", "a", "1"), ("", "a1", "")],
    "singer_martech.mapping.template_code._PATH": [
        ("{{", " ", "/"),
        ("{{a", ".a", "/"),
        ("{{a", "[''", ""),
        ("{{a['", "a", "/"),
        ("{{a|", " ", "/"),
    ],
    "singer_martech.mapping.template_code._STEP": [("", '["', ""), ("", "['", ""), ("", ".a", "/")],
    "singer_martech.runtime.escapes._ESCAPE": [
        ("", "%41", "%"),
        ("", "\\ud800", "/"),
        ("", "&a", "/"),
        ("&#", "1", "/"),
        ("", "=41", "="),
        ("", "=\r", "/"),
        ("", "\\u{1", "/"),
        ("", "\\xf0\\x80", "/"),
        ("", "aaaaaaaaaa", " "),
        ("", "a" * 60 + " ", "/"),
        ("", "\r\n", "a"),
    ],
    "singer_martech.runtime.escapes._CONTROL": [("", "\n", "a")],
    "singer_martech.singer.meltano_env._PATH_SEPARATOR": [("", "\\", "."), ("", "\\.", "")],
    "singer_martech.singer.record_lines._START": [
        ("{", " ", "/"),
        ('{"type":"RECORD","stream":"', "a", ""),
        ('{"type":"RECORD","stream":"a"', " ", "/"),
    ],
    "singer_martech.singer.record_lines._END": [
        ("}", " ", "/"),
        ("}", ',"version":1', "/"),
        ('},"version":', "1", "/"),
        ('},"time_extracted":"', "a", ""),
        ("}}", " ", "/"),
    ],
    "singer_martech.values.json_scan._SPACE": [("", " ", "/")],
    "singer_martech.values.limits._CONVERSION": [
        ("", "0", ""),
        ("", "1", ""),
        (".", "1", ""),
        ("", "1.", "l"),
    ],
    "singer_martech.values.limits._PARENTHESIS": [("", "(", ""), ("", "a", "(")],
    "singer_martech.values.limits._WIDE_SPEC": [("", "1", "/"), ("", "1/", "")],
    "singer_martech.values.timestamps._ISO": [("2024-01-01T00:00:00.", "1", "/")],
    "tap_robotmia.body._HTML": [("", "<", ""), ("<", "!", "")],
    "tap_robotmia.lines._NUMBER": [("", "1", "/"), ("1.", "1", "/")],
    "tap_robotmia.lines._TEXT": [('"', "a", ""), ("", '"', "\\")],
    "tap_robotmia.sanitize._UNSAFE": [("", "\0", "a")],
    "tap_robotmia.sanitize._MAY_BE_UNSAFE": [("", "\\", "u"), ("", "\\u00", "")],
    "tap_mediarithmics.coercion._NUMBER": [("", "1", "/"), ("1.", "1", "/"), ("1e", "1", "/")],
    "tap_mediarithmics.coercion._INTEGER": [("", "1", "/")],
    "tap_mediarithmics.coercion._MILLISECONDS": [("", "1", "/"), ("1.", "0", "/")],
    "tap_mediarithmics.object_types._FIELD_TYPE": [
        ("", "[", "/"),
        ("", "a", "/"),
        ("a", "]!", "/"),
    ],
    "tap_mediarithmics.otql._TOKEN": [
        ("", " ,", "/"),
        ("#", "#", ""),
        ('"', "a", ""),
        ('"', "\\", ""),
    ],
    "tap_mediarithmics.timestamps._DATE_TIME": [("", "1", "")],
    "target_mona.responses._ERROR_STATUS": [("", "4", "/"), ("", " ", "/"), ("", "a ", "/")],
    "target_mona.client._HOST_LABEL": [("", "a", "/")],
    "target_mona.client._ABOUT_USER_ID": [("", "user ", "")],
    "target_mona.export_timestamp._DIGITS": [("", "1", "/"), ("1.", "1", "/")],
    "target_mona.export_timestamp._RARE_ISO": [("2024-W01", "1", "/"), ("20240101T", "1", "/")],
    "target_mona.stream_mapping._ARC_CLASS": [("", "a", "/"), ("", "a.", "/")],
    "target_monetate.coercion._NUMBER": [("", "1", "/"), ("1.", "1", "/"), ("1e", "1", "/")],
    "target_monetate.coercion._NEEDS_QUOTES": [("", "a", "")],
    "target_monetate.datetimes._RFC_3339": [("2024-01-01T00:00:00.", "1", "/")],
    "target_monetate.datetimes._ZEROED_RFC_3339": [("0000-00-00T00:00:00.", "0", "/")],
    "target_monetate.datetimes._ISO_8601": [("2024-01-01T00:00:00.", "1", "/")],
    "target_monetate.empty_fields._USUAL_NAME": [("", "a", "")],
    "target_monetate.private_key._PUBLIC": [("", "-----BEGIN ", ""), ("", "-", "")],
    "target_mediarithmics.conversions._WHOLE_NUMBER": [("", "1", "/"), ("1.", "0", "/")],
    "target_mediarithmics.error_file._NUMBERED": [
        ("", " ", "/"),
        ("", "\n", "/"),
        ("line ", "1", "/"),
        ("line 1", " ", "\n"),
        ("", "line ", ""),
    ],
    "target_mediarithmics.rules._UUID_1": [("", "a", "-")],
}


def patterns() -> dict[str, tuple[re.Pattern[Any], set[str]]]:
    """Return the compiled patterns of all packages by name, and the methods that are called."""
    found: dict[str, tuple[re.Pattern[Any], set[str]]] = {}
    for package in map(importlib.import_module, PACKAGES):
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if each.name.endswith("__main__"):
                continue
            module = importlib.import_module(each.name)
            source = Path(module.__file__ or "").read_text(encoding="utf-8")
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern) and re.search(
                    rf"(?m)^{name} = re\.compile", source
                ):
                    methods = set(re.findall(rf"\b{name}\.([a-z]+)\b", source))
                    found[f"{each.name}.{name}"] = value, methods
    return found


def test_each_pattern_has_its_worst_cases_here() -> None:
    assert set(WORST_CASES) == set(patterns())


@pytest.mark.parametrize("name", WORST_CASES)
def test_a_pattern_is_linear(name: str) -> None:
    pattern, methods = patterns()[name]
    assert methods
    for start, repeated, end in WORST_CASES[name]:
        text = start + repeated * REPEATS + end
        subject = text.encode() if isinstance(pattern.pattern, bytes) else text
        for method in methods:
            # the garbage of other tests may be collected within one of several attempts
            attempts = (seconds(pattern, method, subject) for _ in range(MOST_ATTEMPTS))
            is_quick = any(taken < MOST_SECONDS for taken in attempts)
            assert is_quick, (start, repeated, end, method)


@pytest.mark.parametrize("name", WORST_CASES)
def test_a_pattern_needs_little_memory(name: str) -> None:
    pattern, methods = patterns()[name]
    for start, repeated, end in WORST_CASES[name]:
        text = start + repeated * REPEATS + end
        subject = text.encode() if isinstance(pattern.pattern, bytes) else text
        for method in methods:
            tracemalloc.start()
            apply(pattern, method, subject)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak / len(text) < MOST_BYTES, (start, repeated, end, method)


def seconds(pattern: re.Pattern[AnyStr], method: str, text: AnyStr) -> float:
    """Return how much CPU time a method takes."""
    began = time.thread_time()
    apply(pattern, method, text)
    return time.thread_time() - began


def apply(pattern: re.Pattern[AnyStr], method: str, text: AnyStr) -> None:
    """Call a method of a pattern."""
    if method == "sub":
        pattern.sub(text[:0], text)
    elif method == "finditer":
        assert sum(1 for _ in pattern.finditer(text)) >= 0
    else:
        getattr(pattern, method)(text)
