"""A BATCH file is removed once a STATE may follow its records, and never before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fsspec  # type: ignore[import-untyped]
import pytest

from tests.kit.singer import record, schema, state
from tests.target_mona.test_singer import batch, named, storage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.mona import Mona
    from tests.sandbox.server import Sandbox
    from tests.target_mona.conftest import Target


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "batches"
    folder.mkdir()
    return folder


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_delivered_files_are_removed_also_without_a_state_at_the_end(
    target: Target, root: Path
) -> None:
    lines = [batch(root, b'{"id":1}'), state(1), batch(root, b'{"id":2}')]
    run = target(schema(), *lines, **storage(root))
    assert (run.status, run.states) == (0, [1])
    assert left(root) == []


def test_a_file_that_two_messages_name_is_read_twice(target: Target, root: Path) -> None:
    line = batch(root, b'{"id":1}')
    run = target(schema(), line, line, state(1), **storage(root))
    assert run.status == 0
    assert run.summary()["read"] == 2
    assert left(root) == []


def test_without_a_storage_of_its_own_the_target_removes_nothing(
    target: Target, root: Path
) -> None:
    assert target(schema(), batch(root, b'{"id":1}'), state(1)).status == 0
    assert left(root) == ["batch-0"]


def test_a_dry_run_removes_nothing(target: Target, root: Path) -> None:
    run = target(schema(), batch(root, b'{"id":1}'), state(1), dry_run=True, **storage(root))
    assert run.status == 0
    assert left(root) == ["batch-0"]


@pytest.mark.parametrize(("allowed", "kept"), [(1, []), (0, ["batch-1", "batch-2"])])
def test_a_file_with_rejected_records_stays_unless_the_reject_limit_allows_them(
    target: Target, root: Path, allowed: int, kept: list[str]
) -> None:
    lines = [
        batch(root, b'{"id":1}'),
        state(1),
        batch(root, b'{"id":2}', b'{"id":"x","price":1.10}'),
        state(2),
        batch(root, b'{"id":3}'),
        state(3),
    ]
    run = target(
        schema(id={"type": "integer"}), *lines, max_rejected_records=allowed, **storage(root)
    )
    assert run.status == (0 if allowed else 1)
    assert run.states[-1] == (3 if allowed else 1)
    assert [each["record"] for each in run.rejects] == [{"id": "x", "price": 1.10}]
    assert left(root) == kept


def test_a_file_stays_while_its_records_are_not_accepted(
    target: Target, root: Path, sandbox: Sandbox
) -> None:
    sandbox.faults.add("mona", "/export", status=403, times=None)
    run = target(schema(), batch(root, b'{"id":1}'), state(1), **storage(root))
    assert run.status == 1
    assert run.states == []
    assert left(root) == ["batch-0"]


def test_only_the_file_that_a_link_leads_to_is_removed_and_nothing_outside(
    target: Target, root: Path, mona: Mona
) -> None:
    outside = root.parent / "outside"
    outside.write_bytes(b'{"id":1}\n')
    (root / "link").symlink_to(outside)
    assert target(schema(), named(root / "link"), state(1), **storage(root)).status == 1
    assert outside.exists()
    assert mona.messages() == []


def test_a_file_that_cannot_be_removed_is_named_in_a_warning(target: Target, root: Path) -> None:
    twice = root / "twice"
    twice.write_bytes(b'{"id":1}\n')
    lines = [named(twice, twice), record(id=2), state(1)]
    run = target(schema(), *lines, **storage(root))
    assert (run.status, run.states) == (0, [1])
    assert f"the BATCH file {twice} cannot be removed: No such file or directory" in run.log
    assert "Traceback" not in run.log


def test_a_file_of_a_remote_storage_is_removed(target: Target) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/kept", b'{"id": 1}\n')
    memory.pipe("/bucket/a", b'{"id": 1}\n')
    run = target(schema(), named("memory://bucket/a"), state(1), **storage("memory://bucket"))
    assert run.status == 0
    assert memory.ls("/bucket", detail=False) == ["/bucket/kept"]
