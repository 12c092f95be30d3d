"""One run of a target: its parts, its progress and its end."""

from __future__ import annotations

import contextlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_martech.delivery.checkpoint import Checkpoints
from singer_martech.delivery.dispatcher import Dispatcher
from singer_martech.delivery.ledger_settings import open_ledger
from singer_martech.delivery.metrics import StreamMetrics
from singer_martech.delivery.rejects import Rejects
from singer_martech.delivery.run_summary import RunSummary
from singer_martech.errors import MartechError, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from singer_martech.runtime.shutdown import ShutdownSignal

logger = logging.getLogger(__name__)

_PROGRESS_SECONDS = 10.0


class DeliveryRun:
    """The parts of one run, from the dispatcher to the summary.

    Attributes:
        rejects: The reject reports.
        checkpoints: The STATE messages that wait for their records.
        ledger: The ledger, or None without the setting.
        dispatcher: Sends the records.
        interval_seconds: How often STATE is written.
    """

    def __init__(
        self,
        target: str,
        version: str,
        config: Mapping[str, Any],
        shutdown: ShutdownSignal,
        wake: Callable[[], None],
    ) -> None:
        self._is_dry = is_dry = bool(config["dry_run"])
        self._metrics_by_stream: dict[str, StreamMetrics] = {}
        self._progress_at = time.monotonic() + _PROGRESS_SECONDS
        self.interval_seconds = float(config["checkpoint_interval_seconds"])
        self.rejects = Rejects(
            config["reject_path"],
            target,
            config["max_rejected_records"],
            fail_at_end=is_dry,  # a dry run reports everything first
        )
        self.checkpoints = Checkpoints(self.interval_seconds, silent=is_dry)
        self.ledger = open_ledger(config)
        self.dispatcher = Dispatcher(
            # a dry run shows the first request, whose choice must be deterministic
            parallel_requests=1 if is_dry else config["parallel_requests"],
            checkpoints=self.checkpoints,
            rejects=self.rejects,
            shutdown=shutdown,
            # half the interval for batching, half for the response
            oldest_seconds=self.interval_seconds / 2,
            wake=wake,
            while_waiting=self._show_progress,
            ledger=self.ledger,
        )
        self._has_concluded = False
        about = {"target": target, "version": version, "run": self.rejects.run, "dry_run": is_dry}
        self._summary = RunSummary(
            config.get("summary_path"),
            about=about,
            metrics_by_stream=self._metrics_by_stream,
            stats=self.dispatcher.settlement.stats,
            reasons=self.rejects.reasons,
        )

    def metrics(self, stream: str) -> StreamMetrics:
        """Return the counts of a stream."""
        metrics = self._metrics_by_stream.get(stream)
        if metrics is None:
            metrics = StreamMetrics(stream, is_dry_run=self._is_dry)
            self._metrics_by_stream[stream] = metrics
        return metrics

    def has_pending(self, source: str) -> bool:
        """Whether records of a stream of the input are not settled."""
        return any(
            metrics.pending
            for metrics in self._metrics_by_stream.values()
            if metrics.source == source
        )

    def tick(self) -> None:
        """Send and write what is due, and show the progress."""
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

    @contextlib.contextmanager
    def concluding(self) -> Iterator[None]:
        """Write STATE for all settled records, and the summary, even if the run fails.

        Guards may be nested; the innermost ends the run, an outer one may add its error.
        """
        try:
            yield
        except BaseException as error:
            if self._has_concluded:
                self._summary.write(error)
                raise
            end = self._conclude_failed(error)
            if end is not error:
                raise end from error
            raise

    def _conclude_failed(self, error: BaseException) -> BaseException:
        """Send what may be sent despite an error, and conclude; return the error of the run."""
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
            self._conclude_despite(end)
        return end

    def _conclude_despite(self, error: BaseException) -> None:
        try:
            self.conclude(error)
        except BaseException as second:  # noqa: BLE001 - the first error is the reason
            logger.warning("%s", str(second) or type(second).__name__)

    def conclude(self, error: BaseException | None = None) -> None:
        """End the run; a failing step does not prevent the others."""
        self._has_concluded = True
        with contextlib.ExitStack() as steps:  # runs its callbacks in reverse order
            steps.push(partial(self._write_summary, error))
            self._add_steps(steps)

    def _add_steps(self, steps: contextlib.ExitStack) -> None:
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


def _log_summary(metrics: StreamMetrics) -> None:
    logger.info("%s", metrics.line())
