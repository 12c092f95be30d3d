"""Build a release and check that it installs and runs: `make release`, or `make wheel` alone."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from configparser import ConfigParser
from pathlib import Path

from tools.settings import PLUGINS, ROOT

DIST = ROOT / "dist"

#: Paths that an archive must not contain.
_STRAY = re.compile(
    r"(^|/)(\.venv|\.demo|\.meltano|\.env|rejects|output|__pycache__)(/|$)|\.sqlite$"
)


def main() -> int:
    """Build into `dist`, install each archive into a new environment, and run every command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", action="store_true", help="build the wheel and check nothing")
    only_wheel = parser.parse_args().wheel
    shutil.rmtree(DIST, ignore_errors=True)
    if only_wheel:
        _log(str(build_wheel(DIST)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(DIST, folder)
        for archive in sorted(DIST.iterdir()):
            python = install(archive, folder / f"of-{archive.name}")
            started = check(wheel, python, folder)
            _log(f"{archive.name}: {started} commands start in a fresh environment")
    for path in sorted(DIST.iterdir()):
        _log(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
    version = wheel.name.split("-")[1]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if f"## [{version}]" not in changelog:
        _log(f"Before it is published, CHANGELOG.md needs a section [{version}].")
    return 0


def build(dist: Path, folder: Path) -> Path:
    """Build the sdist, and the wheel out of that; return the wheel."""
    _build("sdist", ROOT, dist)
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        _raise_if_stray(archive, sdist.getnames())
        sdist.extractall(folder / "sdist", filter="data")
    (source,) = (folder / "sdist").iterdir()
    return build_wheel(dist, source)


def build_wheel(dist: Path, source: Path = ROOT) -> Path:
    """Build a wheel and return its path."""
    _build("wheel", source, dist)
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        _raise_if_stray(wheel, archive.namelist())
    return wheel


def install(archive: Path, environment: Path) -> Path:
    """Install an archive with its dependencies into a new environment; return its Python."""
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*command, str(archive)], check=True)
    return python


def check(wheel: Path, python: Path, folder: Path) -> int:
    """Run every command that the wheel names; return how many there are.

    Raises:
        RuntimeError: The output of one of them is unexpected.
    """
    version = wheel.name.split("-")[1]
    commands = _commands(wheel)
    if not set(PLUGINS) < set(commands):
        message = f"the wheel lacks commands: it has {commands}"
        raise RuntimeError(message)
    for name in commands:
        _output(python.parent / name, "--help", folder=folder)
    for name in PLUGINS:
        printed = _output(python.parent / name, "--version", folder=folder)
        if not printed.startswith(f"{name} v{version}"):
            message = f"{name} --version prints {printed!r}, not {version}"
            raise RuntimeError(message)
        about = json.loads(
            _output(python.parent / name, "--about", "--format", "json", folder=folder)
        )
        if about["name"] != name or not about["settings"]["properties"]:
            message = f"{name} --about lists no settings"
            raise RuntimeError(message)
    _dry_run(python.parent, folder)
    return len(commands)


def _dry_run(commands: Path, folder: Path) -> None:
    """Load a record without a network, and write a page of the run's summary."""
    config = {
        "access_token": "none",
        "user_id": "1",
        "dry_run": True,
        "summary_path": str(folder / "summary.json"),
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    messages = [
        {"type": "SCHEMA", "stream": "s", "key_properties": [], "schema": {"properties": {}}},
        {"type": "RECORD", "stream": "s", "record": {"a": 1}},
    ]
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    _output(commands / "target-mona", "--config", "config.json", folder=folder, stdin=lines)
    page = _output(
        commands / "singer-martech-report", "summary.json", "--output", "-", folder=folder
    )
    if "dry run" not in page:
        message = "singer-martech-report does not show the dry run"
        raise RuntimeError(message)


def _build(kind: str, source: Path, dist: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind]
    subprocess.run([*command, "--directory", dist], cwd=source, check=True, capture_output=True)


def _raise_if_stray(archive: Path, names: list[str]) -> None:
    strays = [name for name in names if _STRAY.search(name)]
    if strays:
        message = f"{archive.name} holds {strays[:5]}"
        raise RuntimeError(message)


def _commands(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("entry_points.txt"))
        points = ConfigParser()
        points.read_string(archive.read(name).decode())
    return list(points["console_scripts"])


def _output(*command: str | Path, folder: Path, stdin: str = "") -> str:
    # without the PYTHON* variables, which could add this project's folder to the path
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        check=True,
        input=stdin,
        capture_output=True,
        text=True,
    )
    return done.stdout


def _log(line: str) -> None:
    print(line)


if __name__ == "__main__":
    sys.exit(main())
