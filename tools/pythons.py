"""Run the tests on every supported Python that this machine has: `make pythons`.

Each Python gets its own environment, installed from the lock, in a folder outside the project that
is kept for the next time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
LOCK = ROOT / "requirements" / "dev.txt"


def interpreters() -> dict[str, Path]:
    """Return an interpreter for each supported version that is found."""
    found = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in VERSIONS:
        on_path = shutil.which(f"python{version}")
        candidates = [Path(on_path)] if on_path else []
        candidates += sorted(pyenv.glob(f"{version}.*/bin/python"))
        for candidate in candidates:
            done = subprocess.run(
                [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.stdout.strip() == version:
                found[version] = candidate
    return found


def environment(version: str, python: Path) -> Path:
    """Return the interpreter of an environment with the locked packages; create it if needed."""
    state = hashlib.sha256(
        LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "singer-martech-tests" / f"{version}-{state.hexdigest()[:12]}"
    own, made = folder / "bin" / "python", folder / "made"
    if not made.exists():
        print(f"Python {version}: installing", flush=True)
        pip = [str(own), "-m", "pip", "install", "--quiet"]
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([*pip, "--require-hashes", "--requirement", LOCK], check=True)
        subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT], check=True)
        made.touch()
    return own


def main() -> int:
    """Run them; the arguments go to pytest."""
    results = {}
    found = interpreters()
    for version in VERSIONS:
        if version not in found:
            results[version] = "not found"
            continue
        own = environment(version, found[version])
        print(f"Python {version}: testing", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            path = f"{own.parent}{os.pathsep}{os.environ['PATH']}"
            ended = subprocess.run(
                [own, "-m", "pytest", "-q", "-o", f"cache_dir={folder}", *sys.argv[1:]],
                cwd=ROOT,
                env={**os.environ, "PATH": path},
                check=False,
            )
        results[version] = "failed" if ended.returncode else "passed"
    for version, result in results.items():
        print(f"Python {version}: {result}")
    return "failed" in results.values() or "passed" not in results.values()


if __name__ == "__main__":
    sys.exit(main())
