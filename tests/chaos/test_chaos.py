from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.chaos.extraction_campaign import ExtractionCampaign
from tests.chaos.extractions import EXTRACTIONS
from tests.chaos.load_campaign import LoadCampaign
from tests.chaos.loads import LOADS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.chaos.extractions import Extraction
    from tests.chaos.loads import Load

    Campaign = LoadCampaign | ExtractionCampaign

SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "").split()] or [1]
REQUESTS = int(os.environ.get("CHAOS_REQUESTS") or 200)


def carry_out(campaign: Callable[[int, Path], Campaign], name: str, folder: Path) -> None:
    """Run a campaign for every seed in parallel: most of their time is waiting."""

    def one(seed: int) -> None:
        mine = folder / str(seed)
        mine.mkdir()
        began = time.monotonic()
        print(f"{name}: seed {seed}; once more: make chaos SEEDS={seed} PYTEST='-k {name}'")  # noqa: T201 - to be seen where it fails
        carried_out = campaign(seed, mine)
        carried_out.carry_out()
        seconds = time.monotonic() - began
        print(f"{name}: seed {seed}: {seconds:.0f} s, {carried_out}", flush=True)  # noqa: T201 - likewise

    with ThreadPoolExecutor(len(SEEDS)) as pool:
        list(pool.map(one, SEEDS))


@pytest.mark.timeout(600 + REQUESTS * 10)
@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.target)
def test_a_load_loses_nothing(load: type[Load], tmp_path: Path) -> None:
    carry_out(
        lambda seed, folder: LoadCampaign(load, seed, REQUESTS, folder),
        load.target,
        tmp_path,
    )


@pytest.mark.timeout(600 + REQUESTS * 10)
@pytest.mark.parametrize("load", LOADS, ids=lambda load: f"{load.target}-ledger")
def test_a_load_with_a_ledger_has_the_same_result_as_without(
    load: type[Load], tmp_path: Path
) -> None:
    carry_out(
        lambda seed, folder: LoadCampaign(load, seed, REQUESTS, folder, has_ledger=True),
        f"{load.target}-ledger",
        tmp_path,
    )


@pytest.mark.timeout(600 + REQUESTS * 10)
@pytest.mark.parametrize("extraction", EXTRACTIONS, ids=lambda each: each.tap)
def test_an_extraction_loses_nothing(extraction: type[Extraction], tmp_path: Path) -> None:
    carry_out(
        lambda seed, folder: ExtractionCampaign(extraction, seed, REQUESTS, folder),
        extraction.tap,
        tmp_path,
    )
