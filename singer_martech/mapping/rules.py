"""Requirements of a vendor's documentation for a record."""

from __future__ import annotations

from typing import NamedTuple

from singer_martech.errors import MappingError


class Rule(NamedTuple):
    """A requirement. A record that breaks it is rejected before sending.

    Every rule cites a page of the vendor. Unusual or undocumented values are sent as given, with a
    warning.

    Attributes:
        requirement: What the page requires.
        source: The vendor's page.
    """

    requirement: str
    source: str

    def broken_by(self, problem: str) -> MappingError:
        """Return the error of a record that breaks the rule.

        Args:
            problem: The rejected value and its path, without the requirement.
        """
        return MappingError(f"{problem}: {self.requirement}")
