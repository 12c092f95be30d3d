"""A local S3 server for the states that all workers share."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.airflow.engine import wait_for
from tests.kit.processes import free_port

if TYPE_CHECKING:
    from typing_extensions import Self

BUCKET = "states"


class ObjectStore:
    """Serves S3 over HTTP with moto."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        python = Path(os.environ["AIRFLOW"]).with_name("python")
        port = self.url.rpartition(":")[2]
        self._process = subprocess.Popen(
            [python, "-m", "moto.server", "-H", "127.0.0.1", "-p", port],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: self._request("PUT", ""), 60, lambda: "the object store did not start")
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables that make Meltano keep its states here."""
        return {
            "MELTANO_STATE_BACKEND_URI": f"s3://{BUCKET}/meltano",
            "MELTANO_STATE_BACKEND_S3_ENDPOINT_URL": self.url,
            "MELTANO_STATE_BACKEND_S3_AWS_ACCESS_KEY_ID": "any",
            "MELTANO_STATE_BACKEND_S3_AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def bookmarks(self, state_id: str) -> dict[str, Any]:
        """Return the bookmarks of a state; none if it does not exist."""
        found = self._request("GET", f"/meltano/{quote(state_id)}/state.json")
        if not found:
            return {}
        state = json.loads(found)["completed"].get("singer_state", {})
        bookmarks: dict[str, Any] = state.get("bookmarks", {})
        return bookmarks

    def _request(self, method: str, path: str) -> bytes | None:
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.url}/{BUCKET}{path}",
            method=method,
            headers={"Authorization": "AWS any:any"},  # without it, only public objects are visible
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - likewise
                return bytes(response.read())
        except (urllib.error.URLError, ConnectionError):
            return None
