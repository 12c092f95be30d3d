"""Validate the configuration and convert it to the declared types.

The SDK's validation prints the invalid value, which may be a secret. Environment variables and
Meltano pass all values as text.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import math
from typing import TYPE_CHECKING, Any

from jsonschema import Draft7Validator

from singer_martech.errors import SettingError
from singer_martech.http.urls import check_url
from singer_martech.runtime.redaction import register_secret
from singer_martech.singer.config_errors import error_line
from singer_martech.singer.json_file import json_position
from singer_martech.values.json_codec import is_unicode
from singer_martech.values.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logger = logging.getLogger(__name__)

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_UNSET = object()
_MAX_HEADER_CHARACTERS = 8000
"""Common servers take lines of some 8,190 bytes."""


_SDK_RULES: dict[str, Any] = {
    "properties": {
        "batch_config": {
            "required": ["encoding", "storage"],
            "properties": {
                "encoding": {
                    "required": ["format"],
                    "properties": {"format": {}, "compression": {}},
                    "additionalProperties": False,
                },
                "storage": {
                    "required": ["root"],
                    "properties": {"root": {}, "prefix": {}, "params": {"type": "object"}},
                    "additionalProperties": False,
                },
                "batch_size": {"type": "integer", "minimum": 1},
            },
            "additionalProperties": False,
        },
        "flattening_max_depth": {"minimum": 0},
        "flattening_max_key_length": {"minimum": 1},
        # the SDK accepts these names only inside a stream
        "stream_maps": {"propertyNames": {"pattern": "^(?!__)|^__else__$"}},
    },
    "if": {
        "properties": {"flattening_enabled": {"const": True}},
        "required": ["flattening_enabled"],
    },
    "then": {"required": ["flattening_max_depth"]},
}
"""Constraints that the SDK's classes need but its declarations omit."""


def check_config(
    schema: Mapping[str, Any], config: Mapping[str, Any], env_prefix: str
) -> tuple[dict[str, Any], list[str]]:
    """Convert a configuration to its declared types and list its problems.

    Text is converted to a number, a boolean, an object or an array if the schema requires one;
    numbers (ids) are converted to text. One-line text is stripped. Null and empty text count as
    not set.

    Returns:
        The configuration with defaults, and one line for each problem. No line contains the
        value of a setting.
    """
    _register_secrets(schema, config)
    _warn_about_unknown(schema, config)
    typed = _with_types(schema, config)
    errors = [*Draft7Validator(_repaired(schema)).iter_errors(typed)]
    errors += Draft7Validator(_SDK_RULES).iter_errors(typed)
    problems = list(dict.fromkeys(error_line(error, env_prefix) for error in errors))
    problems += [
        f"setting '{name}' contains an invalid character: NUL, or one that is not UTF-8"
        for name, value in typed.items()
        if name in schema["properties"] and not _is_clean(value)
    ]
    problems += [
        f"setting '{name}' has more than {_MAX_HEADER_CHARACTERS} characters; servers reject that"
        for name, value in typed.items()
        if _is_sent_in_header(name, schema) and len(str(value)) > _MAX_HEADER_CHARACTERS
    ]
    problems += _storage_problems(typed)
    problems += _url_problems(typed)
    return typed, problems


def _storage_problems(typed: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line if no installed package reads the scheme of the batch storage."""
    batch_config = typed.get("batch_config")
    storage = batch_config.get("storage") if isinstance(batch_config, dict) else None
    root = storage.get("root") if isinstance(storage, dict) else None
    if not isinstance(root, str) or "://" not in root:
        return
    registry = importlib.import_module("fsspec.registry")  # slow to load, and rarely used
    try:
        registry.get_filesystem_class(root.partition("://")[0])
    except (ImportError, ValueError) as error:
        yield f"setting 'batch_config.storage.root' cannot be used: {error}"


def _url_problems(typed: dict[str, Any]) -> Iterator[str]:
    """Normalize the URLs; yield a line for each that is invalid."""
    for name, value in typed.items():
        if name.endswith("_url") and isinstance(value, str):
            try:
                typed[name] = check_url(value, name)
            except SettingError as error:
                yield str(error)


def _repaired(schema: Any) -> Any:
    """Remove the text "null", which SDK 0.54 adds to the schemas of an ``anyOf``."""
    if isinstance(schema, dict):
        return {name: _repaired(value) for name, value in schema.items()}
    if isinstance(schema, list) and any(isinstance(each, dict) for each in schema):
        return [_repaired(each) for each in schema if isinstance(each, dict)]
    return schema


def _is_sent_in_header(name: str, schema: Mapping[str, Any]) -> bool:
    """Whether a setting becomes part of a request's URL or headers, which have one line."""
    definition = schema["properties"].get(name, {})
    is_credential = definition.get("secret") and not name.startswith("private_key")
    return bool(is_credential) or name == "user_agent" or name.endswith("_id")


def boolean(value: object) -> object:
    """Convert text such as "true" to a boolean; return any other value unchanged."""
    return _from_text(value, ["boolean"]) if isinstance(value, str) else value


def json_value(value: object, name: str) -> Any:
    """Decode JSON text; return any other value unchanged.

    Raises:
        SettingError: The text is not JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise SettingError(f"setting '{name}' is not valid JSON ({json_position(error)})") from None
    except (ValueError, RecursionError):  # too many digits or too deep nesting
        raise SettingError(f"setting '{name}' is not valid JSON") from None


def _is_clean(value: object) -> bool:
    """Whether a value contains neither NUL nor lone surrogates."""
    rest = [value]
    while rest:
        each = rest.pop()
        if isinstance(each, str) and ("\0" in each or not is_unicode(each)):
            return False
        if isinstance(each, dict):
            rest += [*each, *each.values()]
        elif isinstance(each, list):
            rest += each
    return True


def _register_secrets(schema: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    for name, definition in schema["properties"].items():
        value = config.get(name)
        if definition.get("secret") and value is not None:
            register_secret(str(value))


def _warn_about_unknown(schema: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    known = list(schema["properties"])
    for name in config:
        if name not in known:
            logger.warning("setting '%s' is unknown and ignored%s", name, did_you_mean(name, known))


def _with_types(schema: Mapping[str, Any], value: Any) -> Any:
    """Convert ``value`` and its contents to the types of ``schema``."""
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    value = _converted(value, types)
    if isinstance(value, float) and "integer" in types and "number" not in types:
        value = int(value) if value.is_integer() else value  # 2.0 is a valid integer
    if isinstance(value, dict) and "properties" in schema:
        return _object_with_types(schema["properties"], value)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [_with_types(schema["items"], item) for item in value]
    return value


def _object_with_types(properties: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(value)
    for name, definition in properties.items():
        given = value.get(name)
        if name in value and "type" not in definition:
            continue  # alternatives declared by the SDK, in which null is significant
        given = stripped(given) if "string" in definition.get("type", ()) else given
        typed = _UNSET if given is None or given == "" else _with_types(definition, given)
        typed = _UNSET if typed is None else typed  # the text "null"
        if typed is _UNSET and definition.get("default") is not None:
            typed = definition["default"]
        if typed is _UNSET:
            result.pop(name, None)
        else:
            result[name] = typed
    return result


def stripped(value: Any) -> Any:
    """Strip one-line text; multi-line text such as a PEM file is unchanged."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    return value if "\n" in text else text


def _converted(value: Any, types: list[str]) -> Any:
    """Convert text to one of ``types``; return values that cannot be converted unchanged."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        wants_text = "string" in types and not {"number", "integer"} & set(types)
        return str(value) if wants_text else value
    if isinstance(value, str) and "string" not in types:
        return _from_text(value, types)
    return value


def _from_text(value: str, types: list[str]) -> Any:
    text = value.strip()
    if "boolean" in types and text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    if "integer" in types or "number" in types:
        return _number(text, value)
    if "object" in types or "array" in types:
        with contextlib.suppress(ValueError, RecursionError):
            parsed = json.loads(text)
            return value if isinstance(parsed, str) else parsed
    return value


def _number(text: str, otherwise: str) -> int | float | str:
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        number = float(text)
        if math.isfinite(number):
            return number
    return otherwise
