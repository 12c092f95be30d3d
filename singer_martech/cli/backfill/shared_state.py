"""Check that all workers share Meltano's states."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from singer_martech.errors import MartechError


def require_shared_state() -> None:
    """Reject a back-fill whose states would stay in the run folder of each shard.

    Environment variables take precedence; otherwise ask Meltano, in the working folder.

    Raises:
        MartechError: States are not shared, or Meltano cannot be asked.
    """
    if _is_shared(
        os.environ.get("MELTANO_STATE_BACKEND_URI"), os.environ.get("MELTANO_DATABASE_URI")
    ):
        return
    settings = _meltano_settings()
    if not _is_shared(settings["state_backend"]["uri"], settings["database_uri"]):
        raise MartechError(
            "Meltano's state would stay in the run folder of each shard: set "
            "MELTANO_STATE_BACKEND_URI (such as s3://…), or MELTANO_DATABASE_URI of a database"
        )


def _is_shared(backend: str | None, database: str | None) -> bool:
    if backend is not None and backend != "systemdb":
        return True
    return database is not None and not database.startswith("sqlite")


def _meltano_settings() -> dict[str, Any]:
    try:
        done = subprocess.run(
            ["meltano", "config", "print", "meltano"],  # noqa: S607 - of the user's PATH
            check=True,
            capture_output=True,
            text=True,
        )
        settings: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise MartechError(
            "cannot find out where Meltano keeps states: run this in the folder of the Meltano "
            "project, with meltano on the PATH, or set MELTANO_STATE_BACKEND_URI"
        ) from error
    return settings
