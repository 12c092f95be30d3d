"""Convert documents to the vendor's types, and check them.

A document that breaks a rule of ``rejected`` is not sent, because according to the page that
the rule cites, the vendor rejects it. A document that breaks a rule of ``unusual`` is sent
unchanged, with one warning per stream. A document of an unknown type may be any JSON object.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from singer_martech.errors import MappingError
from target_mediarithmics.identifiers import IDENTIFIERS, of_any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_mediarithmics.conversions import Conversion
    from target_mediarithmics.plain import Plain
    from target_mediarithmics.rules import Rule

    Document = dict[str, Any]

logger = logging.getLogger(__name__)


class DocumentType(NamedTuple):
    """A document type.

    Attributes:
        operations: The values of ``operation``; empty if there is no such field.
        deletion_fields: Fields of a document with the operation DELETE besides its
            identifiers, with dots for nesting.
        conversions: Convert values to the types that the pages name, before the rules.
        rejected: The rules whose breach the vendor rejects.
        unusual: The rules whose breach causes a warning.
        recommended: Likewise, and a plain document may break it.
        plain: The shape of documents that need no conversion and break no other rule.
        complete: Adds what the vendor does not infer; runs last.
        unique_field: A field that prevents a document sent twice from being stored twice.
        identify: Returns a text for the user of a document; documents of one user are sent
            in order. None if the user is unknown.
    """

    operations: tuple[str, ...] = ()
    deletion_fields: tuple[str, ...] = ()
    conversions: tuple[Conversion, ...] = ()
    rejected: tuple[Rule, ...] = ()
    unusual: tuple[Rule, ...] = ()
    recommended: tuple[Rule, ...] = ()
    plain: Plain | None = None
    complete: Conversion | None = None
    unique_field: str | None = None
    identify: Callable[[Document], str | None] = of_any


class DocumentCheck:
    """Checks the documents of one stream."""

    def __init__(self, document_type: DocumentType, stream: str) -> None:
        self._type = document_type
        self._stream = stream
        self._unusual = list(document_type.unusual)
        self._recommended = list(document_type.recommended)

    def __call__(self, document: Document) -> tuple[Document, str | None]:
        """Check and convert a document.

        Returns:
            The document as it is sent, in the vendor's types, and a text for its user; see
            :class:`DocumentType`.

        Raises:
            MappingError: The vendor rejects such a document.
        """
        kind = self._type
        if kind.plain is None or not kind.plain.matches(document):
            document = self._by_rules(document)
        return self._completed(document)

    def plain(self, documents: Sequence[Document]) -> list[tuple[Document, str | None]] | None:
        """Return the documents as they are sent, each with a text for its user.

        Returns:
            None if one of them is not plain.
        """
        plain = self._type.plain
        if plain is None or not plain.match(documents):
            return None
        return [self._completed(document) for document in documents]

    def _completed(self, document: Document) -> tuple[Document, str | None]:
        for rule in self._recommended:
            if rule.is_broken(document):
                self._warn(rule)
        kind = self._type
        if kind.complete is not None:
            document = kind.complete(document)
        try:
            return document, kind.identify(document)
        except ValueError as error:  # a number of thousands of digits
            raise MappingError(f"its identifier cannot be written as text: {error}") from error

    def _by_rules(self, document: Document) -> Document:
        for convert in self._type.conversions:
            document = convert(document)
        for rule in self._type.rejected:
            if rule.is_broken(document):
                raise MappingError(str(rule))
        for rule in self._unusual:
            if rule.is_broken(document):
                self._warn(rule)
        return document

    def _warn(self, rule: Rule) -> None:
        """Log the first document that breaks a rule; the rule is not checked again."""
        self._unusual = [other for other in self._unusual if other is not rule]
        self._recommended = [other for other in self._recommended if other is not rule]
        logger.warning(
            "stream '%s': a document is unusual: %s (vendor page: %s); it is sent as it is",
            self._stream,
            rule,
            rule.source.value,
        )


def deletion_of(kind: DocumentType, document: Mapping[str, Any]) -> Document:
    """Return the document that deletes what a document created.

    Raises:
        MappingError: The type has no operation DELETE.
    """
    if "DELETE" not in kind.operations:
        raise MappingError("its document type has no operation DELETE")
    deletion: Document = {"operation": "DELETE"}
    for path in fields_of_deletion(kind):
        outer, _, inner = path.partition(".")
        value = document.get(outer)
        if inner and isinstance(value, dict):
            value = {inner: value.get(inner)}
        if value is not None:
            deletion[outer] = value
    return deletion


def fields_of_deletion(kind: DocumentType) -> tuple[str, ...]:
    """Return the fields of a deletion besides ``operation``, with dots for nesting."""
    return (*IDENTIFIERS, "compartment_id", *kind.deletion_fields)
