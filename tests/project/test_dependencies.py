"""The dependencies are exactly the packages that the plugins use; the locks pin their hashes."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import distributions, files, requires

import pytest

from tools.settings import ROOT

PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
#: Used by the standard library on systems without time zones.
NOT_IMPORTED = {"tzdata"}
#: Packages that are part of the interface of another dependency.
INDIRECT = {
    "singer-sdk": {"click", "fsspec", "jsonschema", "simplejson"},
    "requests": {"urllib3"},
    "jinja2": {"markupsafe"},
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(distribution: str) -> set[str]:
    lines = requires(distribution) or []
    names = (re.match(r"[\w.-]+", line) for line in lines if "extra ==" not in line)
    return {normal(name.group()) for name in names if name}


def imported() -> set[str]:
    own = {"singer_martech", *PACKAGES}
    modules: set[str] = set()
    for package in own - {"tests", "bench", "tools"}:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    modules.add(node.module.partition(".")[0])
    others = modules - own - set(sys.stdlib_module_names)
    found = {name: modules_of(name) for name in installed()}
    assert others <= set().union(*found.values())
    return {name for name, held in found.items() if held & others}


def installed() -> set[str]:
    return {normal(each.metadata["Name"]) for each in distributions()}


def modules_of(name: str) -> set[str]:
    # packages_distributions() of Python 3.10 knows only packages that list their modules
    paths = (path for path in files(name) or () if path.suffix in {".py", ".so", ".pyd"})
    return {path.parts[0].partition(".")[0] for path in paths}


def test_every_package_that_is_needed_is_used_and_every_one_used_is_declared() -> None:
    declared = required("singer-martech")
    optional = {"typing-extensions", "sqlalchemy"}  # for Python before 3.12, and for an extra
    assert declared - NOT_IMPORTED - optional <= imported()
    brought = {name for names in INDIRECT.values() for name in names}
    assert imported() - declared - optional <= brought


@pytest.mark.parametrize("distribution", INDIRECT)
def test_an_indirect_dependency_is_declared_by_its_package(distribution: str) -> None:
    assert INDIRECT[distribution] <= required(distribution)


@pytest.mark.parametrize(
    "lock", sorted(ROOT.glob("requirements/*.txt")), ids=lambda path: path.name
)
def test_every_locked_package_has_one_version_and_a_hash(lock: object) -> None:
    text = ROOT.joinpath(str(lock)).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert lines
    assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []
