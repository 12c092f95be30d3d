"""The command of a plugin: exit status, final error line, and ``--check``."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.plugin_base import SingerCommand

from singer_martech._compat import override
from singer_martech.errors import MartechError, Stopped
from singer_martech.runtime.escapes import escape_controls
from singer_martech.runtime.redaction import log_handlers, redact, redact_logs
from singer_martech.runtime.temp_files import FILE_LIMIT_ERRORS, RAISE_FILE_LIMIT
from singer_martech.singer.stdin import discard_input
from singer_martech.singer.writer import write_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

_FAILED = 1
_SIGNAL_BASE = 128
_SECONDS_TO_DISCARD = 1.0
_STDERR = 2
_OUT_OF_MEMORY = "out of memory: free some, or raise the limit of the process"
_OUT_OF_MEMORY_LINE = f"| ERROR | {_OUT_OF_MEMORY}\n".encode()
_OUTPUT_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class PluginCommand(SingerCommand):
    """Runs a plugin and reports a failure with one line and the exit status.

    Attributes:
        reads_input: Whether the plugin is a target.
    """

    reads_input = False
    _is_run = False

    @override
    def main(self, *args: Any, **kwargs: Any) -> Any:
        self._set_up_logging()
        try:
            return super().main(*args, **kwargs)
        except Stopped as error:
            self._end(error, _SIGNAL_BASE + error.signum)
        except (ConfigValidationError, MartechError, MemoryError) as error:
            self._end(error, _FAILED)
        except OSError as error:
            if error.errno not in FILE_LIMIT_ERRORS:
                raise
            self._end(MartechError(f"{error.strerror}: {RAISE_FILE_LIMIT}"), _FAILED)

    def _set_up_logging(self) -> None:
        logging.captureWarnings(capture=True)
        logging.raiseExceptions = False  # no traceback for a line that cannot be written
        self.logger.addFilter(_is_informative)
        redact_logs()
        for handler in log_handlers():
            handler.handleError = _write_without_memory  # type: ignore[method-assign]
        sys.excepthook = self.excepthook
        threading.excepthook = self._thread_excepthook

    @override
    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            with output_errors():  # --version, --help and --discover print
                return super().make_context(*args, **kwargs)
        except click.BadParameter as error:  # such as a file that does not exist
            raise MartechError(error.format_message()) from error

    @override
    def invoke(self, ctx: click.Context) -> Any:
        require_output()
        with output_errors():
            self._is_run = not (ctx.params.get("check") or ctx.params.get("about"))
            # SingerCommand.invoke would print the schema if the configuration is invalid
            return click.Command.invoke(self, ctx)

    @override
    def excepthook(
        self,
        exc_type: type[BaseException],
        exc_value: BaseException,
        exc_traceback: TracebackType | None,
    ) -> None:
        """Log an unexpected failure in one line, with its traceback at DEBUG."""
        self.logger.error("%s: %s", exc_type.__name__, exc_value)
        self.logger.debug("ended by", exc_info=(exc_type, exc_value, exc_traceback))

    def _thread_excepthook(self, arguments: threading.ExceptHookArgs) -> None:
        """Log the end of a thread at DEBUG: the main thread notices it and reports its reason."""
        error = arguments.exc_value
        self.logger.debug("a thread was ended by %r", error, exc_info=error)

    def _end(self, error: BaseException, status: int) -> None:
        self.logger.error("%s", _line(error))
        self.logger.debug("ended by", exc_info=error)
        discard_unwritten_output()
        if self.reads_input and self._is_run and not isinstance(error, Stopped):
            # Meltano answers a broken pipe with tracebacks, which hide the line above
            discard_input(sys.stdin, _SECONDS_TO_DISCARD)
        sys.exit(status)


def _line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return _OUT_OF_MEMORY
    return "; ".join(error.errors) if isinstance(error, ConfigValidationError) else str(error)


def _write_without_memory(record: logging.LogRecord) -> None:
    """Write a constant line instead of an error for which a log handler had no memory."""
    if record.levelno >= logging.ERROR and isinstance(sys.exc_info()[1], MemoryError):
        with suppress(OSError):
            os.write(_STDERR, _OUT_OF_MEMORY_LINE)


def require_output() -> None:
    """Raise an error if standard output is closed."""
    if sys.stdout is None:
        raise MartechError("nothing can be written: standard output is closed")


def discard_unwritten_output() -> None:
    """Discard buffered output; the interpreter would try to write it again at exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _escape_unencodable() -> None:
    """Escape characters that the encoding of standard output does not have."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def output_errors() -> Iterator[None]:
    """Raise an error if standard output cannot be written; click would exit silently."""
    _escape_unencodable()
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError as error:
        raise MartechError("the program that reads the output has ended") from error
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS:
            raise
        raise MartechError(f"the output cannot be written: {error.strerror}") from error


@dataclass(frozen=True)
class Check:
    """One thing that ``--check`` verifies.

    Attributes:
        label: What is verified, such as ``login`` or ``dataset 'orders'``.
        run: Verifies it without changing anything at the vendor. Raises a
            :class:`~singer_martech.errors.MartechError` if it is wrong.
        is_prerequisite: Whether its failure ends the checks.
    """

    label: str
    run: Callable[[], object]
    is_prerequisite: bool = False


@dataclass
class CheckReport:
    """Prints the result of each check.

    Attributes:
        failed: The labels of the checks that failed.
    """

    failed: list[str] = field(default_factory=list)

    @contextmanager
    def check(self, label: str) -> Iterator[None]:
        """Print whether the block succeeds; suppress its error."""
        try:
            yield
        except Stopped:
            raise
        except ConfigValidationError as error:
            self._print_failure(label, *error.errors)
        except MartechError as error:
            self._print_failure(label, str(error))
        else:
            _print(f"✓ {label}")

    def run(self, checks: Iterator[Check]) -> None:
        """Run checks until a prerequisite fails."""
        for check in checks:
            with self.check(check.label):
                check.run()
            if check.is_prerequisite and check.label in self.failed:
                return

    def conclude(self) -> None:
        """Fail the command if a check failed.

        Raises:
            MartechError: A check failed.
        """
        if self.failed:
            raise MartechError(f"the check failed: {', '.join(self.failed)}")

    def _print_failure(self, label: str, *lines: str) -> None:
        self.failed.append(label)
        subject = label.partition(": ")[0]
        for line in lines:
            is_complete = line.startswith(f"{subject}: ")
            _print(f"✗ {line}" if is_complete else f"✗ {label}: {line}")


def _print(line: str) -> None:
    write_output(f"{escape_controls(redact(line))}\n".encode(errors="backslashreplace"))


def _is_informative(record: logging.LogRecord) -> bool:
    """Filter out a line that the SDK logs at every start."""
    return not str(record.msg).startswith("Skipping parse of env var settings")
