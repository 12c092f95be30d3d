"""Renew the settings in meltano.yml, docs/ and hub/ from `--about`: `make docs`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import yaml

from tools import hub, settings
from tools.settings import DOCS, MELTANO, PLUGINS, ROOT

if TYPE_CHECKING:
    from pathlib import Path


def main() -> int:
    """Write the files; with `--check`, only report whether they would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    stale = False
    for path, new in renewed_files({name: settings.about(name) for name in PLUGINS}).items():
        if not path.exists() or path.read_text(encoding="utf-8") != new:
            stale = True
            name = path.relative_to(ROOT)
            print(f"{name} {'differs from --about: run make docs' if check else 'renewed'}")
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(new, encoding="utf-8")
    return int(stale and check)


def renewed_files(plugins: dict[str, dict[str, Any]]) -> dict[Path, str]:
    """Return the expected content of the files that repeat `--about`."""
    meltano = settings.renewed_meltano(MELTANO.read_text(encoding="utf-8"), plugins)
    pages = {DOCS / f"{name}.md": said for name, said in plugins.items()}
    return {
        MELTANO: meltano,
        **{
            path: settings.renewed_page(path.read_text(encoding="utf-8"), said)
            for path, said in pages.items()
            if path.exists()
        },
        **hub.definitions(yaml.safe_load(meltano), plugins),
    }


if __name__ == "__main__":
    sys.exit(main())
