"""The files of the project do not name a machine, a package index or a code host."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tools.settings import ROOT

#: Written in pieces, so that this file does not match itself.
TRACES = {
    "a path of one machine": re.compile(r"(?<![\w.:/}])/(?:home|root|work|Users|opt)/\w"),
    "a package index": re.compile(
        "pypi" + r"\.org|pythonhosted|--(extra-)?index-url|/simp" + "le/"
    ),
    "a host of code": re.compile("git(hub|lab)" + r"\.com|bitbucket\.org"),
}


def _files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git is needed to list the files")
@pytest.mark.parametrize("trace", TRACES)
def test_no_file_holds(trace: str) -> None:
    found = []
    for path in _files():
        if path == Path(__file__) or not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode().splitlines(), start=1):
            if TRACES[trace].search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []
