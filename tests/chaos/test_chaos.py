from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.chaos import extractions, loads

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "").split()] or [1, 2]
REQUESTS = int(os.environ.get("CHAOS_REQUESTS") or 200)


@pytest.fixture(params=SEEDS)
def seed(request: pytest.FixtureRequest) -> int:
    """What the storms, the kills and the input come from."""
    return int(request.param)


@pytest.mark.parametrize("load", loads.LOADS, ids=lambda load: load.target)
def test_a_load_loses_nothing(load: type[loads.Load], seed: int, tmp_path: Path) -> None:
    campaign = loads.Campaign(load, seed, REQUESTS, tmp_path)
    print(f"\n{load.target}: seed {seed}; again with: make chaos SEEDS={seed}")  # noqa: T201 - the seed is to be seen
    campaign.carry_out()
    print(campaign)  # noqa: T201 - likewise


@pytest.mark.parametrize("extraction", extractions.EXTRACTIONS, ids=lambda each: each.tap)
def test_an_extraction_loses_nothing(
    extraction: type[extractions.Extraction], seed: int, tmp_path: Path
) -> None:
    campaign = extractions.Campaign(extraction, seed, REQUESTS, tmp_path)
    print(f"\n{extraction.tap}: seed {seed}; again with: make chaos SEEDS={seed}")  # noqa: T201 - the seed is to be seen
    campaign.carry_out()
    print(campaign)  # noqa: T201 - likewise
