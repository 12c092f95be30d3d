"""The schemas of the datamart: several, one of them live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from tests.sandbox.mediarithmics_schema import object_types_deep, schema_text

if TYPE_CHECKING:
    from tests.sandbox.mediarithmics import Mediarithmics

_DAY_MS = 86_400_000


class Schemas:
    """The handlers of runtime schemas, for one `Mediarithmics`."""

    def __init__(self, vendor: Mediarithmics) -> None:
        self._vendor = vendor

    def routes(self, base: str) -> list[web.RouteDef]:
        """Return the routes under the API's address."""
        schemas = f"{base}/datamarts/{{datamart}}/graphdb_runtime_schemas"
        return [
            web.get(schemas, self._list_schemas, allow_head=False),
            web.get(f"{schemas}/{{schema}}/object_types/deep", self._types, allow_head=False),
            web.get(f"{schemas}/{{schema}}/text", self._schema_text, allow_head=False),
        ]

    async def _list_schemas(self, request: web.Request) -> web.Response:
        refused = self._vendor.refused(request) or self._vendor.foreign(request)
        if refused:
            return refused
        live = int(self._vendor.live_schema_id)
        created = 1_700_000_000_000
        schemas = [
            {
                "id": str(live + step),
                "datamart_id": self._vendor.datamart_id,
                "status": status,
                "creation_date": created + step * _DAY_MS,
                "modification_date": created + step * _DAY_MS,
                "publication_date": None if status == "DRAFT" else created + step * _DAY_MS,
            }
            for step, status in ((1, "DRAFT"), (0, "LIVE"), (-1, "ARCHIVED"))
        ]
        return self._vendor.page(request, schemas, 50)

    async def _types(self, request: web.Request) -> web.Response:
        refused = self._vendor.refused(request) or self._vendor.foreign(request)
        if refused or request.match_info["schema"] != self._vendor.live_schema_id:
            return refused or self._vendor.not_found()
        types = object_types_deep(self._vendor.live_schema_id)
        return web.json_response({"status": "ok", "data": types, "count": len(types)})

    async def _schema_text(self, request: web.Request) -> web.Response:
        refused = self._vendor.refused(request) or self._vendor.foreign(request)
        if refused or request.match_info["schema"] != self._vendor.live_schema_id:
            return refused or self._vendor.not_found()
        return self._vendor.ok(schema_text())
