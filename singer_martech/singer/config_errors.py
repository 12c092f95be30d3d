"""Format the errors of a configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from singer_martech.singer.json_file import json_position
from singer_martech.values.wording import similar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jsonschema import ValidationError


def error_line(error: ValidationError, env_prefix: str) -> str:
    """Return an error of a setting as one line, without the invalid value."""
    error = _most_specific(error)
    path = list(error.absolute_path)
    keyword: str = str(error.validator)
    wanted: Any = error.validator_value
    if keyword == "required":
        # jsonschema reports one error per name, and only in its message
        missing = next(name for name in wanted if error.message.startswith(repr(name)))
        line = f"setting '{_path([*path, missing])}' is required"
        if not path:
            line += f": put it into the configuration or into {env_prefix}{missing.upper()}"
        return line
    name = _path(path) or "configuration"
    requirements_by_keyword: dict[str, Callable[[], str]] = {
        "type": lambda: (
            f"must be {_types(wanted)}{_example(error)}{_json_problem(error.instance, wanted)}"
        ),
        "anyOf": lambda: f"must be {' or '.join(map(_alternative, wanted))}",
        "oneOf": lambda: f"must be {' or '.join(map(_alternative, wanted))}",
        "enum": lambda: f"must be one of {', '.join(map(str, wanted))}",
        "minimum": lambda: f"must be at least {wanted}",
        "exclusiveMinimum": lambda: f"must be greater than {wanted}",
        "maximum": lambda: f"must be at most {wanted}",
        "minLength": lambda: "must not be empty",
        "pattern": lambda: f"has no key '{error.instance}'; give it inside a stream's object",
        "minItems": lambda: f"must have at least {wanted} item(s)",
        "additionalProperties": lambda: f"has {_unexpected(error)}",
    }
    requirement = requirements_by_keyword.get(keyword, lambda: f"is not valid ({keyword})")
    return f"setting '{name}' {requirement()}"


def _most_specific(error: ValidationError) -> ValidationError:
    """Return the error from the alternative that matches best."""
    inner = max(error.context or (), key=lambda each: len(each.absolute_path), default=None)
    if inner is None or len(inner.absolute_path) <= len(error.absolute_path):
        return error
    return _most_specific(inner)


def _alternative(schema: Mapping[str, Any]) -> str:
    return f'"{schema["const"]}"' if "const" in schema else _types(schema.get("type", "null"))


def _example(error: ValidationError) -> str:
    """Return an example of a list of texts, which people tend to write without its JSON."""
    schema: Any = error.schema
    items = schema.get("items") if isinstance(schema, dict) else None
    is_texts = isinstance(items, dict) and "string" in items.get("type", ())
    return ', such as ["a", "b"]' if is_texts else ""


def _json_problem(value: object, wanted: str | list[str]) -> str:
    """Return where a text that should be JSON is invalid."""
    names = {wanted} if isinstance(wanted, str) else set(wanted)
    if isinstance(value, str) and {"array", "object"} & names:
        try:
            json.loads(value)
        except json.JSONDecodeError as error:
            return f"; the text is not valid JSON ({json_position(error)})"
        except (ValueError, RecursionError):
            return "; the text is not valid JSON"
    return ""


def _types(wanted: str | list[str]) -> str:
    names = [wanted] if isinstance(wanted, str) else [name for name in wanted if name != "null"]
    labels = {
        "string": "text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "object": "an object (JSON)",
        "array": "an array (JSON)",
    }
    return " or ".join(labels.get(name, name) for name in names)


def _unexpected(error: ValidationError) -> str:
    schema: Any = error.schema
    instance: Any = error.instance
    known = list(schema.get("properties", {}))
    names = [name for name in instance if name not in known]
    hints = []
    for name in names:
        suggestion = similar(name, known)
        hints.append(f"'{name}'" + (f" (did you mean '{suggestion}'?)" if suggestion else ""))
    return f"the unknown key {', '.join(hints)}; known are {', '.join(known)}"


def _path(parts: list[Any]) -> str:
    return "".join(_steps(parts)).removeprefix(".")


def _steps(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        yield f"[{part}]" if isinstance(part, int) else f".{part}"
