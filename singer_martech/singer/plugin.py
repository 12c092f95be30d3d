"""The base of all plugins: settings, signals, exit status and ``--check``."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click
from singer_sdk import Tap
from singer_sdk.cli import plugin_cli
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import PluginBase, _ConfigInput

from singer_martech._compat import override
from singer_martech.runtime.shutdown import ShutdownSignal
from singer_martech.singer.command import CheckReport, PluginCommand
from singer_martech.singer.config_check import check_config
from singer_martech.singer.json_file import read_config_file
from singer_martech.singer.meltano_env import unflattened
from singer_martech.singer.stream_maps import StreamMapper, expression_problems
from singer_martech.singer.writer import end_writes_on
from singer_martech.values.wording import similar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from typing_extensions import Self

    from singer_martech.singer.command import Check


_MISSPELT = 0.85
"""How similar the name of an environment variable is to that of a setting, at least."""


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
        for name, declared in properties.items():
            declared.setdefault("title", name.replace("_", " ").capitalize())
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
