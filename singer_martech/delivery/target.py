"""The base of all targets: read messages, deliver records, write STATE."""

from __future__ import annotations

import abc
import logging
from typing import IO, TYPE_CHECKING, Any, ClassVar, cast

from singer_sdk import Target
from singer_sdk.exceptions import RecordsWithoutSchemaException
from singer_sdk.helpers.capabilities import (
    PluginCapabilities,
    TargetCapabilities,
)

from singer_martech._compat import override
from singer_martech.delivery.batch_input import BatchInput
from singer_martech.delivery.block_loader import BlockLoader
from singer_martech.delivery.dry_run import DryRunDestination
from singer_martech.delivery.input_check import InputCheck
from singer_martech.delivery.ledger_mirror import TooManyDeletes
from singer_martech.delivery.ledger_settings import check_ledger_settings
from singer_martech.delivery.mapping_review import MappingReview
from singer_martech.delivery.record_loader import RecordLoader
from singer_martech.delivery.record_routes import find_routes
from singer_martech.delivery.run import DeliveryRun
from singer_martech.delivery.schema_message import check_schema_message, normalize_schema_message
from singer_martech.errors import InvalidInput, SettingError
from singer_martech.mapping.stream_mappings import StreamMappings
from singer_martech.singer.catalog import read_schemas
from singer_martech.singer.plugin import MartechPlugin
from singer_martech.singer.reader import MessageReader

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    from singer_sdk.helpers.capabilities import (
        CapabilitiesEnum,
    )
    from typing_extensions import Self

    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.metrics import StreamMetrics
    from singer_martech.delivery.record_routes import Route
    from singer_martech.delivery.sink import MartechSink
    from singer_martech.singer.command import Check

logger = logging.getLogger(__name__)


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
        self._input_check: InputCheck | None = None
        self.sequence = 0
        self._schemas: dict[str, bytes] = {}
        self._loaders: dict[str, list[RecordLoader]] = {}
        self._shown: set[str] = set()
        self._warned: set[Hashable] = set()
        self._mapping_review = MappingReview(self.mappings, self.config, self.warn_once)
        self._dry_run_destinations: dict[Destination, DryRunDestination] = {}
        self.message_reader: MessageReader
        self._batch_input = BatchInput(self.message_reader, self._process_record_message)
        self._run = run = DeliveryRun(
            self.name, self.plugin_version, self.config, self.shutdown, self.message_reader.wake
        )
        self.rejects, self.ledger, self.dispatcher = run.rejects, run.ledger, run.dispatcher
        self.shutdown.on_request(self.message_reader.wake)
        self.message_reader.shutdown = self.shutdown
        self.message_reader.pause_seconds = min(1.0, run.interval_seconds / 4)
        self.message_reader.tick = run.tick
        self.message_reader.guard = run.concluding

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
            messages = read_schemas(file_input, "the file given with --input")
            check = InputCheck(messages, target._process_schema_message)
            target._input_check = check
            target._mapping_review = MappingReview(target.mappings, target.config, check.report)
        return target

    @override
    def checks(self) -> Iterator[Check]:
        """Yield a check for each SCHEMA given with ``--input``, and one for their names."""
        if self._input_check is not None:
            yield from self._input_check.checks(self._mapping_review.conclude)

    def _find_routes(self, stream: str) -> list[Route]:
        """Return the sinks of a stream, each with its stream map."""
        get_sink = cast("Callable[[str], MartechSink]", self.get_sink)
        return list(find_routes(self.mapper.stream_maps[stream], get_sink))

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

    def warn_once(self, line: str, topic: Hashable = None) -> None:
        """Log a warning, but only the first of its topic, which is the line itself by default."""
        topic = line if topic is None else topic
        if topic not in self._warned:
            self._warned.add(topic)
            logger.warning("%s", line)

    def metrics(self, stream: str) -> StreamMetrics:
        """Return the counts of a stream."""
        return self._run.metrics(stream)

    def destination(self, destination: Destination) -> Destination:
        """Return the given destination or, in a dry run, one that sends nothing."""
        if not self.config["dry_run"]:
            return destination
        if destination not in self._dry_run_destinations:
            self._dry_run_destinations[destination] = DryRunDestination(destination, self._shown)
        return self._dry_run_destinations[destination]

    @override
    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        stream = message_dict["stream"]
        loaders = self._loaders.get(stream)
        if loaders is None:
            loaders = self._open_loaders(stream, "RECORD")
        self.sequence += 1
        for loader in loaders:
            loader.load(message_dict)

    def _open_loaders(self, stream: str, kind: str) -> list[RecordLoader]:
        """Return the loaders of a stream when its first record comes, and open its fast path."""
        if stream not in self.mapper.stream_maps:
            raise RecordBeforeSchema(f"stream '{stream}': a {kind} came before its SCHEMA")
        loaders = [RecordLoader(route.sink, route.transform) for route in self._find_routes(stream)]
        self._loaders[stream] = loaders
        if len(loaders) == 1 and loaders[0].transform is None:
            block_loader = BlockLoader.of(loaders[0].sink)
            if block_loader is not None:
                self.message_reader.fast_handlers[stream] = block_loader.load
        return loaders

    @override
    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"stream", "schema"})
        check_schema_message(message_dict)
        stream = message_dict["stream"]
        message, schema, warnings = normalize_schema_message(message_dict)
        known = self._schemas.get(stream)
        if known is not None:
            self._activate_version(stream, None)
        if known == schema:
            return
        if known is not None and self._run.has_pending(stream):
            # pending records must be reported with their own schema
            self.dispatcher.flush()
        self._schemas[stream] = schema
        for warning in warnings:
            logger.warning("stream '%s': %s", stream, warning)
        self.rejects.begin_schema(message_dict)
        super()._process_schema_message(message)
        self._loaders.pop(stream, None)
        self.message_reader.fast_handlers.pop(stream, None)
        for _, sink in self._find_routes(stream):
            self._mapping_review.review(sink, stream)
            sink.metrics.source = stream
            sink.prepare()
            sink.open_ledger(is_incremental=bool(message.get("bookmark_properties")))

    @override
    def _process_state_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"value"})
        self._run.checkpoints.add(self.sequence, message_dict["raw"])
        self._batch_input.confirm(self._run.checkpoints, self.sequence)

    @override
    def _process_activate_version_message(self, message_dict: dict[str, Any]) -> None:
        stream = message_dict.get("stream")
        if isinstance(stream, str) and stream in self._schemas:
            self._activate_version(stream, message_dict.get("version"))

    def _activate_version(self, stream: str, version: object) -> None:
        """Tell the mirrors of a stream its version; None if a message follows it."""
        for _, sink in self._find_routes(stream):
            if sink.mirror is not None:
                sink.mirror.activate(version)

    @override
    def _process_batch_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"stream", "encoding", "manifest"})
        stream = message_dict["stream"]
        if not isinstance(stream, str):
            raise InvalidInput("the stream of a BATCH must be a name")
        loaders = self._loaders.get(stream) or self._open_loaders(stream, "BATCH")
        self._activate_version(stream, None)
        configs = (loader.sink.batch_config for loader in loaders)
        storage = next((config.storage for config in configs if config), None)
        for _ in self._batch_input.load(message_dict, storage):
            self.shutdown.check()
            self._run.tick()

    @override  # type: ignore[misc] # final; but what it does between the two may fail, too
    def listen(self, file_input: IO[str] | None = None) -> None:
        with self._run.concluding():
            super().listen(file_input)

    @override
    def process_endofpipe(self) -> None:
        with self._run.concluding():  # without listen, as in the SDK's tests
            self._deliver_rest()
            super().process_endofpipe()
            self._mapping_review.conclude()
            self._run.conclude()

    def _deliver_rest(self) -> None:
        self.dispatcher.flush()
        self._delete_unseen()
        self._batch_input.confirm(self._run.checkpoints, self.sequence)
        self.dispatcher.write_state(now=True)
        self.rejects.raise_if_exceeded()

    def _delete_unseen(self) -> None:
        """Delete what mirrored streams no longer contain.

        Raises:
            TooManyDeletes: A stream would lose too many keys; the others are mirrored.
        """
        refused = []
        for each in self._sinks_active.values():
            sink = cast("MartechSink", each)
            if sink.mirror is not None:
                try:
                    sink.mirror.delete_unseen(sink.destination, self.sequence)
                except TooManyDeletes as error:
                    refused.append(str(error))
                    continue
                self.dispatcher.flush()
                sink.mirror.log()
        if refused:
            raise TooManyDeletes("; ".join(refused))
