"""The base of all plugins: settings, signals, exit status and ``--check``."""

from __future__ import annotations

import io
import json
import os
import sys
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

import click
from singer_sdk import Tap
from singer_sdk.cli import plugin_cli
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import PluginBase, _ConfigInput

from singer_martech._compat import override
from singer_martech.errors import SettingError
from singer_martech.runtime.shutdown import ShutdownSignal
from singer_martech.singer.catalog import check_catalog
from singer_martech.singer.command import Check, CheckReport, PluginCommand
from singer_martech.singer.config_check import check_config
from singer_martech.singer.json_file import parse_object, read_config_file, read_text
from singer_martech.singer.meltano_env import unflattened
from singer_martech.singer.state import unwrap_state
from singer_martech.singer.stream_maps import StreamMapper, expression_problems, unmatched_maps
from singer_martech.singer.writer import end_writes_on, write_output
from singer_martech.values.wording import similar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from typing_extensions import Self


_MISSPELT = 0.85
"""How similar the name of an environment variable is to that of a setting, at least."""
_UNUSED_BOOKMARK_KEYS = frozenset({"partitions", "progress_markers"})
"""Bookmark keys that these taps never write; the SDK fails if their values are invalid."""


class MartechPlugin(PluginBase):
    """The base of taps and targets."""

    package_name = "singer-martech"
    _installs_signal_handlers = False

    def check_settings(self, config: Mapping[str, Any]) -> Iterable[str]:
        """Yield one line for each invalid combination of settings.

        Called when each setting by itself is valid.
        """
        del config
        return ()

    def checks(self) -> Iterator[Check]:
        """Yield the checks of ``--check``, which run after the settings were validated.

        Override it to yield a :class:`Check` of the login (``is_prerequisite=True``), one for
        each object at the vendor that the settings name, and end with
        ``yield from super().checks()``. A check must not change anything at the vendor. Each
        check runs before the next is yielded, so later checks can use earlier results.
        """
        yield from ()

    @cached_property
    def shutdown(self) -> ShutdownSignal:
        """The signal that ends this run."""
        return ShutdownSignal()

    @override
    def _setup_signal_handlers(self) -> None:
        if self._installs_signal_handlers:
            self.shutdown.install()
            end_writes_on(self.shutdown)

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - a class property
        config: dict[str, Any] = {}
        properties = cls._settings_schema()["properties"]
        cls._warn_about_misspelt_variables(properties)
        for name, declared in properties.items():
            text = os.environ.get(f"{cls._env_var_prefix}{name.upper()}")
            if text is not None:
                is_object = "object" in declared.get("type", ())
                config[name] = unflattened(text) if is_object else text
        return config

    @classmethod
    def _warn_about_misspelt_variables(cls, known: Collection[str]) -> None:
        """Warn about environment variables whose names are close to those of settings."""
        prefix = cls._env_var_prefix
        for variable in os.environ:
            name = variable.removeprefix(prefix).lower()
            # Meltano also sets variables for the members of a setting
            is_known = any(name == each or name.startswith(f"{each}_") for each in known)
            if variable.startswith(prefix) and not is_known:
                meant = similar(name, known, _MISSPELT)
                if meant is not None:
                    cls.logger.warning(
                        "environment variable %s is not a setting and is ignored; did you mean "
                        "%s%s?",
                        variable,
                        prefix,
                        meant.upper(),
                    )

    @classmethod
    def _settings_schema(cls) -> dict[str, Any]:
        schema = cls.config_jsonschema
        cls.append_builtin_config(schema)
        return schema

    @override
    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        super().append_builtin_config(config_jsonschema)
        properties = config_jsonschema["properties"]
        # these need packages that the plugins do not install
        properties.pop("faker_config", None)
        if "batch_config" in properties:
            properties["batch_config"]["properties"]["encoding"]["properties"]["format"]["enum"] = [
                "jsonl"
            ]

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        schema = self._settings_schema()
        self._config, problems = check_config(schema, self._config, self._env_var_prefix)
        if not problems:
            problems = [*expression_problems(self._config), *self.check_settings(self._config)]
        if problems and raise_errors:
            summary = "; ".join(problems)
            raise ConfigValidationError(summary, errors=problems, schema=schema)
        return problems

    @override
    def setup_mapper(self) -> None:
        self._mapper = StreamMapper(plugin_config=dict(self.config), logger=self.logger)

    @override
    @classmethod
    def cb_config(
        cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]
    ) -> _ConfigInput:
        del ctx, param
        config: dict[str, Any] = {}
        for path in value:
            if path != "ENV":
                config |= read_config_file(path)
        return _ConfigInput(config=config, parse_env="ENV" in value)

    @override
    @classmethod
    def invoke(cls, *, check: bool = False, **options: Any) -> None:
        if not check or options["about"]:
            super().invoke(**options)
            return
        config: _ConfigInput = options.pop("config")
        given = {**config.config, **(cls._env_var_config if config.parse_env else {})}
        report = CheckReport()
        with report.check("settings"):
            plugin = cls.for_check(given, **options)
        if not report.failed:
            report.run(plugin.checks())
        report.conclude()

    @classmethod
    def for_check(cls, config: dict[str, Any], **options: Any) -> Self:
        """Return the plugin for ``--check``; it must not change anything at the vendor.

        Args:
            config: The settings as given.
            options: Other options of the command.

        Raises:
            ConfigValidationError: A setting is invalid.
            MartechError: A file is invalid.
        """
        del options
        return cls(config=config)

    @plugin_cli
    def cli(cls) -> click.Command:  # noqa: N805 - a class property
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
        check = click.Option(
            ["--check"],
            is_flag=True,
            help="Verify the settings, the login, and that what they name exists. Writes nothing.",
        )
        result = PluginCommand(
            name=command.name,
            callback=command.callback,
            context_settings=command.context_settings,
            params=[*command.params, check],
            help=f"{cls.__doc__}\n\nSee --about for the settings.",
            logger=cls.logger,
        )
        result.reads_input = not issubclass(cls, Tap)
        return result


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
