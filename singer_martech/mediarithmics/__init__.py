"""The mediarithmics API, which two plugins speak: its wire, and nothing of Singer.

It can be used alone::

    connection = Connection("api:…")
    for export in Exports(connection, organisation_id="1426").all():
        print(export.id, export.name)
"""

from singer_martech.mediarithmics.connection import (
    DEFAULT_API_URL,
    Connection,
    UnexpectedAnswer,
)
from singer_martech.mediarithmics.datamart import Datamart, QueryFault
from singer_martech.mediarithmics.executions import Execution, id_order
from singer_martech.mediarithmics.exports import Export, Exports
from singer_martech.mediarithmics.import_results import ImportResult
from singer_martech.mediarithmics.imports import Definition, DocumentImport, DocumentImports
from singer_martech.mediarithmics.uploads import Uploads

__all__ = [
    "DEFAULT_API_URL",
    "Connection",
    "Datamart",
    "Definition",
    "DocumentImport",
    "DocumentImports",
    "Execution",
    "Export",
    "Exports",
    "ImportResult",
    "QueryFault",
    "UnexpectedAnswer",
    "Uploads",
    "id_order",
]
