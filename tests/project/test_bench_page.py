from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.report import renew_page

if TYPE_CHECKING:
    from pathlib import Path

PAGE = """# Performance

<!-- tables of make bench-page -->
### Fast path: 1 of 2

old

### Start-up

kept

<!-- end of the tables -->
after
"""


def test_a_run_renews_its_own_tables_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE)
    renew_page(page, 3, ["### Fast path: 2 of 2\n\nnew\n", "### Load flat records\n\n| a |\n"])
    text = page.read_text()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        *("# Performance", "### Fast path: 2 of 2", "### Start-up", "### Load flat records")
    ]
    assert "old" not in text
    assert "kept" in text
    assert "the median of 3 rounds" in text
    assert text.endswith("| a |\n\n<!-- end of the tables -->\nafter\n")


def test_a_page_without_a_place_for_tables_stays_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "other.md"
    page.write_text("# Other\n")
    with pytest.raises(ValueError, match="has no place for the tables"):
        renew_page(page, 1, ["### A\n\nb\n"])
    assert page.read_text() == "# Other\n"
