"""Document imports: their definitions (vendor page: Sending documents)."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from singer_martech.errors import MartechError
from singer_martech.http.errors import HttpError
from singer_martech.http.recovery import recover_lost
from singer_martech.mediarithmics.client import id_text, read
from singer_martech.mediarithmics.executions import id_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from singer_martech.mediarithmics.client import MediarithmicsClient

logger = logging.getLogger(__name__)

NDJSON = "APPLICATION_X_NDJSON"
CSV = "TEXT_CSV"
CONTENT_TYPES = {NDJSON: "application/x-ndjson", CSV: "text/csv"}
"""The Content-Type of an upload, by the import's mime type."""

PRIORITIES = ("HIGH", "MEDIUM", "LOW")


class ImportMismatch(MartechError):
    """An import with the name exists, but it accepts other documents."""


@dataclass(frozen=True)
class Definition:
    """The definition of an import.

    Attributes:
        document_type: Such as ``USER_ACTIVITY``.
        mime_type: ``APPLICATION_X_NDJSON`` or ``TEXT_CSV``.
        priority: ``HIGH``, ``MEDIUM`` or ``LOW``; None leaves it to the vendor.
    """

    name: str
    document_type: str
    mime_type: str = NDJSON
    priority: str | None = None


@dataclass(frozen=True)
class DocumentImport:
    """An import that exists.

    Attributes:
        fields: All fields, as received.
    """

    id: str
    name: str
    document_type: str
    mime_type: str
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> DocumentImport:
        """Create it from the vendor's fields."""
        return cls(
            id=id_text(fields["id"]),
            name=str(fields.get("name") or ""),
            document_type=str(fields.get("document_type") or ""),
            mime_type=str(fields.get("mime_type") or ""),
            fields=fields,
        )

    def __str__(self) -> str:
        """Name it for messages."""
        return f"document import '{self.name}' ({self.id})"

    def check(
        self, document_type: str, mime_type: str, priority: str | None = None
    ) -> DocumentImport:
        """Check that it accepts such documents.

        Returns:
            The import, with the fields that the vendor left out.

        Raises:
            ImportMismatch: It accepts others.
        """
        if self.document_type not in {"", document_type} or self.mime_type not in {"", mime_type}:
            raise ImportMismatch(
                f"{self} accepts {self.document_type} as {self.mime_type}, "
                f"not {document_type} as {mime_type}"
            )
        encoding = str(self.fields.get("encoding") or "utf-8")
        if encoding.lower().replace("_", "-") not in {"utf-8", "utf8"}:
            raise ImportMismatch(f"{self} accepts {encoding}, not utf-8")
        actual = self.fields.get("priority")
        if priority is not None and actual is not None and actual != priority:
            logger.warning("%s keeps its priority %s; the mapping has %s", self, actual, priority)
        return replace(self, document_type=document_type, mime_type=mime_type)


class DocumentImports:
    """The document imports of one datamart."""

    def __init__(self, client: MediarithmicsClient, datamart_id: str) -> None:
        self.client = client
        self._path = f"datamarts/{quote(datamart_id, safe='')}/document_imports"
        self._creating = threading.Lock()
        self._all: list[DocumentImport] | None = None

    def path(self, import_id: str) -> str:
        """Return the path of an import."""
        return f"{self._path}/{quote(import_id, safe='')}"

    def verify_access(self) -> None:
        """Read the beginning of the list.

        Raises:
            Unauthorized: The token is rejected.
            NotFound: There is no such datamart.
        """
        next(self.client.pages(self._path, label="list of document imports"), None)

    def get(self, import_id: str) -> DocumentImport:
        """Read one import."""
        label = f"document import {import_id}"
        data = self.client.call("GET", self.path(import_id), label=label)
        return read(DocumentImport.read, data, label)

    def find(self, wanted: Definition, *, fresh: bool = False) -> DocumentImport | None:
        """Return the import with exactly this name; if there are several, the oldest that fits.

        With ``fresh``, the whole list is read again.

        Raises:
            ImportMismatch: All imports with this name accept other documents.
        """
        label = f"search for document import '{wanted.name}'"
        found = [each for each in self._read(label, wanted.name) if each.name == wanted.name]
        if not found:
            # How `keywords` matches is not documented: look at the whole list before a name
            # counts as unused.
            if fresh or self._all is None:
                self._all = list(self._read(label))
            found = [each for each in self._all if each.name == wanted.name]
        return _oldest_fitting(found, wanted)

    def find_or_create(self, wanted: Definition) -> DocumentImport:
        """Return the import with this name, and create it if there is none.

        Names need not be unique at the vendor. If several threads or runs create it at the
        same time, all of them use the one with the lowest id and remove the others.
        """
        with self._creating:
            found = self.find(wanted)
            if found is not None:
                return found
            created = self._create(wanted)
            agreed = self.find(wanted, fresh=True) or created
            if agreed.id != created.id:
                self._remove(created)
            else:
                logger.info("%s was created", created)
            return agreed

    def _read(self, label: str, keywords: str | None = None) -> Iterator[DocumentImport]:
        params = {} if keywords is None else {"keywords": keywords}
        for page in self.client.pages(self._path, label=label, params=params):
            for row in page:
                yield read(DocumentImport.read, row, label)

    def _create(self, wanted: Definition) -> DocumentImport:
        label = f"creation of document import '{wanted.name}'"
        body = {
            "document_type": wanted.document_type,
            "mime_type": wanted.mime_type,
            "encoding": "utf-8",
            "name": wanted.name,
        }
        if wanted.priority is not None:
            body["priority"] = wanted.priority

        def send() -> DocumentImport:
            data = self.client.call("POST", self._path, label=label, json=body, idempotent=False)
            created = read(DocumentImport.read, data, label)
            return created.check(wanted.document_type, wanted.mime_type)

        return recover_lost(
            self.client.http, send, lambda _: self.find(wanted, fresh=True), label=label
        )

    def _remove(self, created: DocumentImport) -> None:
        """Remove an import that another run created at the same moment."""
        try:
            self.client.send("DELETE", self.path(created.id), label=f"removal of {created}")
        except HttpError as error:
            logger.warning("%s; it was created twice and stays unused", error)


def _oldest_fitting(found: Iterable[DocumentImport], wanted: Definition) -> DocumentImport | None:
    mismatch = None
    for each in sorted(found, key=lambda each: id_order(each.id)):
        try:
            return each.check(wanted.document_type, wanted.mime_type, wanted.priority)
        except ImportMismatch as error:
            mismatch = mismatch or error
    if mismatch is not None:
        raise mismatch
    return None
