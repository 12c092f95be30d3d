"""What every plugin does alike: settings, signals, exit status, and its last line."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

import click
from jsonschema import Draft7Validator
from singer_sdk import Tap
from singer_sdk.cli import plugin_cli
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import PluginBase, SingerCommand, _ConfigInput
from singer_sdk.singerlib import Catalog

from singer_martech._compat import override
from singer_martech.errors import MartechError, SettingError, Stopped
from singer_martech.runtime.redaction import redact, redact_logs
from singer_martech.runtime.shutdown import ShutdownSignal
from singer_martech.singer import settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

_FAILED = 1
_UNUSED_BOOKMARK_KEYS = frozenset({"partitions", "progress_markers"})
"""Parts of a bookmark that these taps never write; the SDK trips over those of a wrong shape."""

_SIGNAL_BASE = 128

_TEXT: dict[str, Any] = {"type": "string"}
_METHOD = {"enum": ["FULL_TABLE", "INCREMENTAL", "LOG_BASED", None]}
_CATALOG: dict[str, Any] = {
    "properties": {"streams": {"type": "array", "items": {"$ref": "#/definitions/stream"}}},
    "definitions": {
        "stream": {
            "type": "object",
            "required": ["tap_stream_id"],
            "properties": {
                "tap_stream_id": _TEXT,
                "key_properties": {"type": ["array", "null"], "items": _TEXT},
                "replication_key": {"type": ["string", "null"]},
                "replication_method": _METHOD,
                "schema": {"$ref": "#/definitions/schema"},
                "metadata": {"type": "array", "items": {"$ref": "#/definitions/metadata"}},
            },
        },
        "schema": {
            "type": "object",
            "properties": {
                "type": {"type": ["string", "array"], "items": _TEXT},
                "properties": {
                    "type": "object",
                    "additionalProperties": {"$ref": "#/definitions/schema"},
                },
            },
        },
        "metadata": {
            "type": "object",
            "properties": {
                "breadcrumb": {"type": "array", "items": _TEXT},
                "metadata": {
                    "type": "object",
                    "properties": {
                        "table-key-properties": {"type": ["array", "null"], "items": _TEXT},
                        "forced-replication-method": _METHOD,
                    },
                },
            },
        },
    },
}
"""What the SDK takes for granted in a catalog."""


class PluginCommand(SingerCommand):
    """Runs a plugin and ends with one line and an exit status that tell the truth."""

    @override
    def main(self, *args: Any, **kwargs: Any) -> Any:
        logging.captureWarnings(capture=True)
        self.logger.addFilter(_says_something)
        redact_logs()
        sys.excepthook = self.excepthook
        try:
            return super().main(*args, **kwargs)
        except Stopped as error:
            self._end(error, str(error), _SIGNAL_BASE + error.signum)
        except ConfigValidationError as error:
            self._end(error, "; ".join(error.errors), _FAILED)
        except MartechError as error:
            self._end(error, str(error), _FAILED)

    @override
    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.BadParameter as error:  # such as a file that is not there
            raise MartechError(error.format_message()) from error

    @override
    def invoke(self, ctx: click.Context) -> Any:
        if sys.stdout is None:
            raise MartechError("nothing can be written: standard output is closed")
        # past SingerCommand, which prints a wrong configuration's schema
        try:
            return click.Command.invoke(self, ctx)
        except BrokenPipeError as error:  # of which click would not say a word
            raise MartechError("the program that reads the output has ended") from error

    @override
    def excepthook(
        self,
        exc_type: type[BaseException],
        exc_value: BaseException,
        exc_traceback: TracebackType | None,
    ) -> None:
        """Word an unforeseen failure in one line; the traceback is for DEBUG."""
        self.logger.error("%s: %s", exc_type.__name__, " ".join(str(exc_value).split()))
        self.logger.debug("ended by", exc_info=(exc_type, exc_value, exc_traceback))

    def _end(self, error: BaseException, line: str, status: int) -> None:
        self.logger.error(" ".join(redact(line).split()))
        self.logger.debug("ended by", exc_info=error)
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError:
            # nobody reads: keep the interpreter from flushing once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(status)


class MartechPlugin(PluginBase):
    """The part that taps and targets share."""

    package_name = "singer-martech"
    _installs_signal_handlers = False

    def check_settings(self, config: Mapping[str, Any]) -> Iterable[str]:
        """Yield one line for each rule across settings that ``config`` breaks.

        It is called when each setting by itself is right.
        """
        del config
        return ()

    @cached_property
    def shutdown(self) -> ShutdownSignal:
        """The request to end this run."""
        return ShutdownSignal()

    @override
    def _setup_signal_handlers(self) -> None:
        if self._installs_signal_handlers:
            self.shutdown.install()

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - a class property
        schema = cls._settings_schema()
        variables = {name: f"{cls._env_var_prefix}{name.upper()}" for name in schema["properties"]}
        return {
            name: os.environ[variable]
            for name, variable in variables.items()
            if variable in os.environ
        }

    @classmethod
    def _settings_schema(cls) -> dict[str, Any]:
        schema = cls.config_jsonschema
        cls.append_builtin_config(schema)
        return schema

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        schema = self._settings_schema()
        self._config, problems = settings.check_config(schema, self._config, self._env_var_prefix)
        if not problems:
            problems = list(self.check_settings(self._config))
        if problems and raise_errors:
            summary = "; ".join(problems)
            raise ConfigValidationError(summary, errors=problems, schema=schema)
        return problems

    @override
    @classmethod
    def cb_config(
        cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]
    ) -> _ConfigInput:
        del ctx, param
        config: dict[str, Any] = {}
        for path in value:
            if path != "ENV":
                config |= _json_file_object(path)
        return _ConfigInput(config=config, parse_env="ENV" in value)

    @plugin_cli
    def cli(cls) -> click.Command:  # noqa: N805 - as of a class property
        """The command."""
        try:
            return PluginBase.__dict__["cli"].method(cls)  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001 - a logging configuration may fail in any way
            sys.exit(
                f"{cls.name}: logging cannot be set up as LOGLEVEL or SINGER_SDK_LOG_CONFIG say: "
                f"{' '.join(str(error).split())}"
            )

    @override
    @classmethod
    def get_singer_command(cls) -> click.Command:
        cls._installs_signal_handlers = True
        command = super().get_singer_command()
        return PluginCommand(
            name=command.name,
            callback=command.callback,
            context_settings=command.context_settings,
            params=command.params,
            help=command.help,
            logger=cls.logger,
        )


class MartechTap(MartechPlugin, Tap):
    """A tap with the project's settings, signals and exit status."""

    @override
    @classmethod
    def invoke(
        cls,
        *,
        state: IO[str] | None = None,
        catalog: IO[str] | None = None,
        **options: Any,
    ) -> None:
        catalog = _json_text(catalog, "--catalog")
        if catalog is not None:
            _check_catalog(json.load(catalog))
            catalog.seek(0)
        super().invoke(state=_json_text(state, "--state"), catalog=catalog, **options)

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a STATE, if it has the shape of one.

        Raises:
            MartechError: It has another shape.
        """
        bookmarks = state.get("bookmarks") or {}
        if not isinstance(bookmarks, dict) or not all(
            isinstance(bookmark, dict) for bookmark in bookmarks.values()
        ):
            message = (
                "the STATE is not one of a Singer tap: 'bookmarks' must hold an object per stream"
            )
            raise MartechError(message)
        own = {
            stream: {
                name: value for name, value in bookmark.items() if name not in _UNUSED_BOOKMARK_KEYS
            }
            for stream, bookmark in bookmarks.items()
        }
        super().load_state({**state, "bookmarks": own})


def _check_catalog(catalog: dict[str, Any]) -> None:
    wrong = next(Draft7Validator(_CATALOG).iter_errors(catalog), None)
    place = "" if wrong is None else "/".join(map(str, wrong.absolute_path))
    try:
        Catalog.from_dict(catalog)
        is_right = wrong is None and all(
            entry.get("stream", entry["tap_stream_id"]) == entry["tap_stream_id"]
            for entry in catalog["streams"]
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        is_right = False
    if not is_right:
        message = (
            "the file given with --catalog is not the catalog of a Singer tap"
            + (f" (see {place})" if place else "")
            + "; --discover prints one"
        )
        raise MartechError(message)


def _says_something(record: logging.LogRecord) -> bool:
    """Leave out what the SDK says at every start and nobody waits for."""
    return not str(record.msg).startswith("Skipping parse of env var settings")


def _json_file_object(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123 - a path as the user wrote it
            value = json.load(file)
    except OSError as error:
        message = f"the configuration file {path} cannot be read: {error.strerror}"
        raise SettingError(message) from None
    except (ValueError, RecursionError) as error:
        place = (
            f" (line {error.lineno}, column {error.colno})"
            if isinstance(error, json.JSONDecodeError)
            else ""
        )
        message = f"the configuration file {path} is not valid JSON{place}"
        raise SettingError(message) from None
    if not isinstance(value, dict):
        message = f"the configuration file {path} must hold a JSON object"
        raise SettingError(message)
    return value


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(name)


def _json_text(file: IO[str] | None, option: str) -> IO[str] | None:
    """Read a JSON object now, so that a broken file is named by its option."""
    if file is None:
        return None
    try:
        text = file.read()
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        message = f"the file given with {option} is not valid JSON"
        raise MartechError(message) from None
    if not isinstance(value, dict):
        message = f"the file given with {option} must hold a JSON object"
        raise MartechError(message)
    return io.StringIO(text)
