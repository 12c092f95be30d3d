"""Errors that end a run. The text of each is the one line that the user reads."""

from __future__ import annotations

import signal


class MartechError(Exception):
    """A run cannot continue; ``str(error)`` is the whole line shown to the user."""


class SettingError(MartechError):
    """A setting is missing or wrong; the line names the setting and the remedy."""


class InvalidInput(MartechError):
    """The input is not valid Singer output; the input before it is valid."""


class MappingError(MartechError):
    """A record cannot be mapped or written as JSON; the text says why."""


class Stopped(MartechError):
    """The run was ended by a signal.

    Attributes:
        signum: The number of that signal, for the exit status 128 + signum.
    """

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"stopped by {signal.Signals(signum).name}")


def reason_of(error: BaseException) -> str:
    """Return the text of an error of the system or of a library; its class if it has no text."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
