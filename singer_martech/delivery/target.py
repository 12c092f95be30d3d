"""The base of all targets: read messages, deliver records, write STATE."""

from __future__ import annotations

import abc
import contextlib
import logging
import time
from decimal import Decimal
from functools import partial
from typing import IO, TYPE_CHECKING, Any, ClassVar, cast

from singer_sdk import Target
from singer_sdk.exceptions import RecordsWithoutSchemaException
from singer_sdk.helpers.capabilities import (
    PluginCapabilities,
    TargetCapabilities,
)
from singer_sdk.mapper import CustomStreamMap, RemoveRecordTransform, SameRecordTransform

from singer_martech._compat import override
from singer_martech.delivery.checkpoint import Checkpoints
from singer_martech.delivery.dispatcher import Dispatcher
from singer_martech.delivery.dry_run import DryRunDestination
from singer_martech.delivery.ledger_settings import check_ledger_settings, open_ledger
from singer_martech.delivery.metrics import StreamMetrics
from singer_martech.delivery.rejects import Rejects
from singer_martech.delivery.run_summary import RunSummary
from singer_martech.delivery.schema_message import canonical, check_schema_message
from singer_martech.errors import InvalidInput, MartechError, SettingError, Stopped
from singer_martech.mapping.stream_mappings import StreamMappings
from singer_martech.singer.batch_files import batch_lines
from singer_martech.singer.catalog import read_schemas
from singer_martech.singer.command import Check
from singer_martech.singer.flattening import flattened
from singer_martech.singer.message_decoder import NOT_JSON
from singer_martech.singer.plugin import MartechPlugin
from singer_martech.singer.reader import MessageReader
from singer_martech.singer.stream_maps import check_magnitudes
from singer_martech.values.schema import normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from singer_sdk.helpers.capabilities import (
        CapabilitiesEnum,
    )
    from typing_extensions import Self

    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.sink import MartechSink

logger = logging.getLogger(__name__)

_PROGRESS_SECONDS = 10.0
_RECORDS_BETWEEN_TICKS = 1000


class RecordBeforeSchema(InvalidInput, RecordsWithoutSchemaException):
    """A record came before the SCHEMA of its stream."""


class MartechTarget(MartechPlugin, Target):
    """A target that writes a STATE only once every record before it is settled."""

    default_sink_class: type[MartechSink]
    message_reader_class = MessageReader
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.BATCH,
        PluginCapabilities.STRUCTURED_LOGGING,
        TargetCapabilities.VALIDATE_RECORDS,
    ]

    def __init__(self, **options: Any) -> None:
        """Check the configuration and create the parts; nothing is sent yet."""
        super().__init__(**options)
        self.max_parallelism = 1  # batches are sent by the dispatcher, not by the SDK
        self.mappings = self._read_mappings(self.config)
        self.given_schemas: Sequence[dict[str, Any]] = ()
        self.sequence = 0
        self._metrics_by_stream: dict[str, StreamMetrics] = {}
        self._schemas: dict[str, bytes] = {}
        self._routes: dict[str, list[_Route]] = {}
        self._shown: set[str] = set()
        self._mapping_problems: set[str] = set()
        self._dry_run_destinations: dict[Destination, DryRunDestination] = {}
        self._progress_at = time.monotonic() + _PROGRESS_SECONDS
        self.rejects = Rejects(
            self.config["reject_path"],
            self.name,
            self.config["max_rejected_records"],
            fail_at_end=self.config["dry_run"],  # a dry run reports everything first
        )
        interval = float(self.config["checkpoint_interval_seconds"])
        self._checkpoints = Checkpoints(interval, silent=self.config["dry_run"])
        self.message_reader: MessageReader
        self.ledger = open_ledger(self.config)
        self.dispatcher = Dispatcher(
            # a dry run shows the first request, whose choice must be deterministic
            parallel_requests=1 if self.config["dry_run"] else self.config["parallel_requests"],
            checkpoints=self._checkpoints,
            rejects=self.rejects,
            shutdown=self.shutdown,
            # half the interval for batching, half for the response
            oldest_seconds=interval / 2,
            wake=self.message_reader.wake,
            while_waiting=self._show_progress,
            ledger=self.ledger,
        )
        self._summary = RunSummary(
            self.config.get("summary_path"),
            about={
                "target": self.name,
                "version": self.plugin_version,
                "run": self.rejects.run,
                "dry_run": self.config["dry_run"],
            },
            metrics_by_stream=self._metrics_by_stream,
            stats=self.dispatcher.settlement.stats,
            reasons=self.rejects.reasons,
        )
        self.shutdown.on_request(self.message_reader.wake)
        self.message_reader.shutdown = self.shutdown
        self.message_reader.pause_seconds = min(1.0, interval / 4)
        self.message_reader.tick = self._tick
        self.message_reader.guard = self._concluding

    @override
    def check_settings(self, config: Mapping[str, Any]) -> Iterator[str]:
        try:
            for name, mapping in self._read_mappings(config):
                self.default_sink_class.check_mapping(name, mapping)
        except SettingError as error:
            yield str(error)
        yield from check_ledger_settings(config)

    @override
    @classmethod
    def for_check(
        cls, config: dict[str, Any], *, file_input: IO[str] | None = None, **options: Any
    ) -> Self:
        target = cls(config={**config, "dry_run": True})
        if file_input is not None:
            target.given_schemas = read_schemas(file_input, "the file given with --input")
        return target

    @override
    def checks(self) -> Iterator[Check]:
        """Yield a check for each SCHEMA given with ``--input``, and one for their names."""
        for message in self.given_schemas:
            run = partial(self._check_schema, message)
            yield Check(f"stream '{message.get('stream')}'", run)
        if self.given_schemas:
            yield Check("streams of the mappings", self._check_mapped_streams)

    def _check_schema(self, message: dict[str, Any]) -> None:
        self._process_schema_message(message)
        problems = [
            problem for sink in self._sinks_of(message) for problem in sink.unknown_fields()
        ]
        _raise_any(problems)

    def _check_mapped_streams(self) -> None:
        _raise_any(list(self._unused_mappings()))

    def _unused_mappings(self) -> Iterator[str]:
        for key, suggestion in self.mappings.unused_keys().items():
            hint = "" if suggestion is None else f"; did you mean '{suggestion}'?"
            yield f"setting 'streams': no stream is named '{key}'{hint}"

    def _sinks_of(self, message: Mapping[str, Any]) -> Iterator[MartechSink]:
        """Yield the sinks of a stream, one per stream map."""
        for stream_map in self.mapper.stream_maps[message["stream"]]:
            if not isinstance(stream_map, RemoveRecordTransform):
                yield cast("MartechSink", self.get_sink(stream_map.stream_alias))

    @classmethod
    def _read_mappings(cls, config: Mapping[str, Any]) -> StreamMappings:
        return StreamMappings(config["streams"], cls.default_sink_class.mapping_keys)

    @override
    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        super().append_builtin_config(config_jsonschema)
        # the SDK adds these to every target; they have no effect here
        for name in ("load_method", "batch_size_rows"):
            config_jsonschema["properties"].pop(name, None)

    @property
    @abc.abstractmethod
    def account(self) -> str:
        """The API and the account there, for the ledger."""

    def metrics(self, stream: str) -> StreamMetrics:
        """Return the counts of a stream."""
        metrics = self._metrics_by_stream.get(stream)
        if metrics is None:
            metrics = StreamMetrics(stream, is_dry_run=self.config["dry_run"])
            self._metrics_by_stream[stream] = metrics
        return metrics

    def destination(self, destination: Destination) -> Destination:
        """Return the given destination or, in a dry run, one that sends nothing."""
        if not self.config["dry_run"]:
            return destination
        if destination not in self._dry_run_destinations:
            self._dry_run_destinations[destination] = DryRunDestination(destination, self._shown)
        return self._dry_run_destinations[destination]

    def reject(self, metrics: StreamMetrics, message: Mapping[str, Any], reason: str) -> None:
        """Report a record that cannot be sent.

        Raises:
            TooManyRejects: See :class:`singer_martech.delivery.rejects.Rejects`.
        """
        self.dispatcher.settlement.reject(metrics, self.sequence, message["raw"], reason)

    @override
    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        stream = message_dict["stream"]
        routes = self._routes.get(stream)
        if routes is None:
            routes = self._find_routes(message_dict)
        self.sequence += 1
        record = message_dict["record"]
        for transform, sink in routes:
            if NOT_JSON in message_dict:
                sink.metrics.read += 1
                self.reject(sink.metrics, message_dict, message_dict[NOT_JSON])
                continue
            if transform is None:
                sink.load(message_dict, record, message_dict["raw"])
                continue
            try:
                transformed = transform(dict(record))
            except Exception as error:  # noqa: BLE001 - an expression of the user may fail in any way
                sink.metrics.read += 1
                self.reject(sink.metrics, message_dict, f"a stream map fails: {error}")
                continue
            if transformed is not None:
                sink.load(message_dict, _exact(transformed), None)

    def _find_routes(self, message: dict[str, Any]) -> list[_Route]:
        """Return the sinks of a stream, each with its stream map."""
        self._assert_line_requires(message, requires={"stream", "record"})
        stream = message["stream"]
        if stream not in self.mapper.stream_maps:
            raise RecordBeforeSchema(f"stream '{stream}': a RECORD came before its SCHEMA")
        routes: list[_Route] = []
        for stream_map in self.mapper.stream_maps[stream]:
            if isinstance(stream_map, RemoveRecordTransform):
                continue
            is_plain = (
                isinstance(stream_map, SameRecordTransform)
                and not stream_map.flattening_enabled
                and len(self.mapper.stream_maps[stream]) == 1
            )
            sink = cast("MartechSink", self.get_sink(stream_map.stream_alias))
            transform = flattened(stream_map)
            if isinstance(stream_map, CustomStreamMap):
                transform = partial(_computed, transform)
            routes.append((None if is_plain else transform, sink))
        self._routes[stream] = routes
        if len(routes) == 1 and routes[0][0] is None:
            sink = routes[0][1]
            if sink.open_fast_path():
                self.message_reader.fast_handlers[stream] = sink.load_raw
        return routes

    @override
    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"stream", "schema"})
        check_schema_message(message_dict)
        stream = message_dict["stream"]
        try:
            normalized, warnings = normalize(message_dict["schema"])
            message = {**message_dict, "schema": normalized}
            schema = canonical(message)
        except RecursionError:
            raise InvalidInput(f"stream '{stream}': its SCHEMA is nested too deep") from None
        known = self._schemas.get(stream)
        if known == schema:
            return
        if known is not None and self._has_pending(stream):
            # pending records must be reported with their own schema
            self.dispatcher.flush()
        self._schemas[stream] = schema
        for warning in warnings:
            logger.warning("stream '%s': %s", stream, warning)
        self.rejects.begin_schema(message_dict)
        super()._process_schema_message(message)
        self._routes.pop(stream, None)
        self.message_reader.fast_handlers.pop(stream, None)
        for sink in self._sinks_of(message):
            sink.metrics.source = stream
            sink.prepare()
            sink.open_ledger(is_incremental=bool(message.get("bookmark_properties")))
            self._warn_about_mapping(sink)

    def _warn_about_mapping(self, sink: MartechSink) -> None:
        """Warn once about each field that a mapping reads and the SCHEMA lacks."""
        if sink.mapping is None and any(True for _ in self.mappings):
            logger.info("stream '%s': no key of setting 'streams' matches it", sink.stream_name)
        for problem in sink.unknown_fields():
            if problem not in self._mapping_problems:
                self._mapping_problems.add(problem)
                logger.warning("%s", problem)

    @override
    def _process_state_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"value"})
        self._checkpoints.add(self.sequence, message_dict["raw"])

    @override
    def _process_activate_version_message(self, message_dict: dict[str, Any]) -> None:
        if message_dict.get("stream") in self._schemas:
            for sink in self._sinks_of(message_dict):
                if sink.mirror is not None:
                    sink.mirror.activate(message_dict.get("version"))

    @override
    def _process_batch_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"stream", "encoding", "manifest"})
        stream = message_dict["stream"]
        routes = self._routes.get(stream) or self._find_routes({"stream": stream, "record": {}})
        storage = next((sink.batch_config.storage for _, sink in routes if sink.batch_config), None)
        load_raw = self.message_reader.fast_handlers.get(stream)
        for number, line in enumerate(batch_lines(message_dict, storage), 1):
            if not line.isspace() and not (load_raw is not None and load_raw(line.strip())):
                # handle it like a RECORD message
                record = self.message_reader.record_message(stream, line, number)
                self._process_record_message(record)
            if number % _RECORDS_BETWEEN_TICKS == 0:
                self.shutdown.check()
                self._tick()

    @override
    def process_endofpipe(self) -> None:
        with self._concluding():
            self.dispatcher.flush()
            self._delete_unseen()
            self.dispatcher.write_state(now=True)
            self.rejects.raise_if_exceeded()
            super().process_endofpipe()
            for problem in self._unused_mappings():
                logger.warning("%s", problem)
        self._conclude()

    def _delete_unseen(self) -> None:
        """Delete what mirrored streams no longer contain.

        Raises:
            MartechError: More would be deleted than allowed, or the run cannot continue.
        """
        for each in self._sinks_active.values():
            sink = cast("MartechSink", each)
            if sink.mirror is not None:
                sink.mirror.delete_unseen(sink.destination, self.sequence)
                self.dispatcher.flush()
                sink.mirror.log()

    def _has_pending(self, stream: str) -> bool:
        return any(
            metrics.pending
            for metrics in self._metrics_by_stream.values()
            if metrics.source == stream
        )

    @contextlib.contextmanager
    def _concluding(self) -> Iterator[None]:
        """Write STATE for all settled records, even if the run fails."""
        try:
            yield
        except BaseException as error:
            end = error
            try:
                if isinstance(error, MartechError) and not isinstance(error, Stopped):
                    self.dispatcher.flush_despite_rejects()
            except Stopped as stopped:
                logger.warning("%s", error)
                end = stopped
            except MartechError as second:
                logger.warning("%s", second)
            finally:
                try:
                    self._conclude(end)
                except BaseException as second:  # noqa: BLE001 - the first error is the reason
                    logger.warning("%s", str(second) or type(second).__name__)
            if end is not error:
                raise end from error
            raise

    def _conclude(self, error: BaseException | None = None) -> None:
        """End the run; a failing step does not prevent the others."""
        with contextlib.ExitStack() as steps:  # runs its callbacks in reverse order
            for _ in range(2):  # again if it fails: then the summary has that error
                steps.push(partial(self._write_summary, error))
            for metrics in reversed(self._metrics_by_stream.values()):
                steps.callback(_log_summary, metrics)
            steps.callback(self.rejects.close)
            steps.callback(self.dispatcher.close)
            steps.callback(self.dispatcher.write_state, now=True)
            steps.callback(self.dispatcher.finish_in_flight)

    def _write_summary(
        self, error: BaseException | None, _: object, failure: BaseException | None, *__: object
    ) -> None:
        self._summary.write(error or failure)

    def _tick(self) -> None:
        self.dispatcher.tick()
        self._show_progress()

    def _show_progress(self) -> None:
        self._summary.sample()
        now = time.monotonic()
        if now < self._progress_at:
            return
        self._progress_at = now + _PROGRESS_SECONDS
        for metrics in self._metrics_by_stream.values():
            if metrics.pending or (metrics.ended_at or 0) > now - _PROGRESS_SECONDS:
                logger.info("%s", metrics.progress(now))


def _raise_any(problems: list[str]) -> None:
    if problems:
        raise SettingError("; ".join(problems))


def _computed(
    transform: Callable[[dict[str, Any]], dict[str, Any] | None], record: dict[str, Any]
) -> dict[str, Any] | None:
    """Apply a stream map, whose expressions could expand a number such as 1e999990 for minutes.

    Raises:
        ValueError: A number is too large.
    """
    check_magnitudes(record)
    return transform(record)


def _log_summary(metrics: StreamMetrics) -> None:
    logger.info("%s", metrics.line())


def _exact(record: dict[str, Any]) -> dict[str, Any]:
    """Convert floats computed by a stream map to decimals, the type of received numbers."""
    return {
        name: Decimal(repr(value)) if isinstance(value, float) else value
        for name, value in record.items()
    }


if TYPE_CHECKING:
    _Route = tuple[Callable[[dict[str, Any]], dict[str, Any] | None] | None, MartechSink]
