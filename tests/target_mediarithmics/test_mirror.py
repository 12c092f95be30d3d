"""Mirrored streams: members that are no longer in the source are deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.target_mediarithmics.conftest import record, schema, state
from tests.target_mediarithmics.test_deletes import CHOICE, PROFILE, SEGMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.target_mediarithmics.conftest import Run

MIRRORED: dict[str, Any] = {**SEGMENT, "mirror": True, "mirror_max_deletes": 0.5}
CSV = {**MIRRORED, "mime_type": "TEXT_CSV"}


def activate(version: int, stream: str = "list") -> str:
    return json.dumps({"type": "ACTIVATE_VERSION", "stream": stream, "version": version})


def person(name: str, version: int | None = None, /, **fields: Any) -> str:
    message = json.loads(record(id=name, **fields))
    return json.dumps(message if version is None else {**message, "version": version})


def table(names: Iterable[str], version: int) -> list[str]:
    """Return the messages of a full read as a tap for SQL databases writes them."""
    people = [person(name, version) for name in names]
    return [schema(), activate(version), *people, activate(version), state({"v": version})]


@pytest.fixture
def mirror(load: Callable[..., Run], tmp_path: Path) -> Callable[..., Run]:
    """Run the target with a ledger and a mirrored stream."""

    def run(*messages: str, mapping: dict[str, Any] = MIRRORED, **settings: Any) -> Run:
        settings = {"ledger": str(tmp_path / "ledger.db"), **settings}
        return load(*messages, streams={"list": mapping}, **settings)

    return run


@pytest.fixture
def members(vendor: Mediarithmics) -> Callable[[], str]:
    """The members of the segment, as one text."""
    return lambda: "".join(
        identifier.removeprefix("email_hash=") for identifier in vendor.members("vip")
    )


@pytest.mark.parametrize("mapping", [MIRRORED, CSV], ids=["JSON", "CSV"])
def test_a_member_missing_from_the_table_leaves_the_segment(
    mirror: Callable[..., Run], members: Callable[[], str], mapping: dict[str, Any]
) -> None:
    mirror(*table("abcd", 1), mapping=mapping)
    assert members() == "abcd"
    run = mirror(*table("acde", 2), mapping=mapping)
    assert run.error is None
    assert members() == "acde"
    assert run.states == [{"v": 2}]
    assert run.summaries["list"]["read"] == 4
    assert run.summaries["list"]["unchanged"] == 3
    assert "stream 'list': the mirror deleted 1 key(s) that the full read did not contain" in (
        run.log
    )
    run = mirror(*table("acde", 3), mapping=mapping)
    assert run.summaries["list"]["requests"] == 0
    assert not [line for line in run.log if "the mirror" in line]


def test_records_in_batch_files_have_the_version_of_their_message(
    mirror: Callable[..., Run], members: Callable[[], str], tmp_path: Path
) -> None:
    for version, names in enumerate(["abc", "ab"], 1):
        path = tmp_path / f"batch-{version}"
        path.write_text("".join(f'{{"id":"{name}"}}\n' for name in names))
        batch = {"stream": "list", "encoding": {"format": "jsonl"}, "manifest": [str(path)]}
        message = json.dumps({"type": "BATCH", **batch, "version": version})
        run = mirror(schema(), message, activate(version), state({"v": version}))
        assert run.states == [{"v": version}]
        assert members() == names


def test_a_member_who_returns_is_added_again(
    mirror: Callable[..., Run], members: Callable[[], str]
) -> None:
    for version, names in enumerate(["ab", "a", "ab", "ab"]):
        mirror(*table(names, version))
        assert members() == names


def test_deletions_have_the_form_of_the_vendor(
    mirror: Callable[..., Run], vendor: Mediarithmics
) -> None:
    mirror(*table("ab", 1))
    mirror(*table("a", 2))
    assert vendor.documents()[-1] == {
        "operation": "DELETE",
        "email_hash": "b",
        "segment_technical_name": "vip",
        "expiration_duration": 60,
    }


@pytest.mark.parametrize("mapping", [PROFILE, CHOICE], ids=["USER_PROFILE", "USER_CHOICE"])
def test_profiles_and_choices_are_mirrored_too(
    mirror: Callable[..., Run], vendor: Mediarithmics, mapping: dict[str, Any]
) -> None:
    fields = {"name": "x", "at": "2026-01-02T03:04:05Z"}
    document = {**mapping["document"], "force_replace": True}
    mapping = {**mapping, "document": document, "mirror": True, "mirror_max_deletes": 1}
    for version, names in ((1, "ab"), (2, "a")):
        people = [person(name, version, **fields) for name in names]
        run = mirror(schema(), *people, activate(version), mapping=mapping)
        assert run.error is None
    assert [each["operation"] for each in vendor.documents()] == ["UPSERT", "UPSERT", "DELETE"]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "does not end with an ACTIVATE_VERSION"),
        ([activate(2)], "has no records"),
        ([activate(2), person("a", 2)], "does not end with an ACTIVATE_VERSION"),
        ([person("a", 2), activate(2), person("c", 2)], "does not end with an ACTIVATE_VERSION"),
        ([person("a", 2), activate(2), schema()], "does not end with an ACTIVATE_VERSION"),
        ([person("a", 2), activate(3)], "do not have the version 3"),
        ([person("a"), activate(2)], "do not have the version 2"),
        ([person("a", 1), person("b", 2), activate(2)], "do not have the version 2"),
    ],
    ids=[
        "no message",
        "no record",
        "it precedes the records",
        "a record follows",
        "a SCHEMA follows",
        "another version",
        "no version",
        "two versions",
    ],
)
def test_nothing_is_deleted_unless_the_table_was_read_in_full(
    mirror: Callable[..., Run], members: Callable[[], str], messages: list[str], reason: str
) -> None:
    mirror(*table("abcd", 1))
    run = mirror(schema(), *messages)
    assert run.error is None
    assert members() == "abcd"
    assert [line for line in run.log if "the mirror deletes nothing" in line and reason in line]


def test_a_record_that_a_stream_map_leaves_out_is_a_message_of_the_stream(
    mirror: Callable[..., Run], members: Callable[[], str]
) -> None:
    mirror(*table("abcd", 1))
    maps = {"list": {"__filter__": "id != 'x'"}}
    mirror(*table("abc", 2), person("x", 2), stream_maps=maps)
    assert members() == "abcd"
    mirror(*table("abcx", 3), stream_maps=maps)
    assert members() == "abc"


def test_a_read_continued_by_another_run_counts_as_one(
    mirror: Callable[..., Run], members: Callable[[], str]
) -> None:
    mirror(*table("abcd", 1))
    mirror(schema(), activate(2), person("a", 2), person("b", 2))
    mirror(schema(), person("c", 2), activate(2))
    assert members() == "abc"


def test_too_many_deletions_delete_nothing(
    mirror: Callable[..., Run], members: Callable[[], str]
) -> None:
    mirror(*table("abcd", 1))
    run = mirror(*table("a", 2))
    assert "would delete 3 of 4 keys, which is more than mirror_max_deletes (0.5)" in str(run.error)
    assert members() == "abcd"
    assert run.states == [{"v": 2}]
    run = mirror(*table("a", 3), mapping={**MIRRORED, "mirror_max_deletes": 3})
    assert run.error is None
    assert members() == "a"


def test_a_stream_that_would_lose_too_many_keys_does_not_stop_another(
    load: Callable[..., Run], vendor: Mediarithmics, tmp_path: Path
) -> None:
    def read(stream: str, names: str, version: int) -> list[str]:
        people = [json.loads(record(stream, id=f"{stream}-{name}")) for name in names]
        lines = [json.dumps({**each, "version": version}) for each in people]
        return [schema(stream), *lines, activate(version, stream)]

    settings = {
        "streams": {"one": MIRRORED, "two": MIRRORED},
        "ledger": str(tmp_path / "ledger.db"),
    }
    load(*read("one", "abc", 1), *read("two", "abc", 1), **settings)
    run = load(*read("one", "a", 2), *read("two", "ab", 2), **settings)
    assert "stream 'one': the mirror would delete 2 of 3 keys" in str(run.error)
    members = [name.removeprefix("email_hash=") for name in vendor.members("vip")]
    assert members == ["one-a", "one-b", "one-c", "two-a", "two-b"]


def test_a_fifth_of_the_keys_may_be_deleted_by_default(
    mirror: Callable[..., Run], members: Callable[[], str]
) -> None:
    mapping = {**SEGMENT, "mirror": True}
    mirror(*table("abcde", 1), mapping=mapping)
    mirror(*table("abcd", 2), mapping=mapping)
    assert members() == "abcd"
    run = mirror(*table("abc", 3), mapping=mapping)
    assert "would delete 1 of 4 keys" in str(run.error)


@pytest.mark.parametrize(("share", "percent"), [(0.07, 7), (0.29, 29), (0.57, 57)])
def test_exactly_the_share_given_may_be_deleted(
    mirror: Callable[..., Run], vendor: Mediarithmics, share: float, percent: int
) -> None:
    mapping = {**MIRRORED, "mirror_max_deletes": share}
    names = [f"n{number}" for number in range(100)]
    mirror(*table(names, 1), mapping=mapping)
    run = mirror(*table(names[percent + 1 :], 2), mapping=mapping)
    assert f"would delete {percent + 1} of 100 keys" in str(run.error)
    run = mirror(*table(names[percent:], 3), mapping=mapping)
    assert run.error is None
    assert len(vendor.members("vip")) == 100 - percent


@pytest.mark.parametrize("version", ["2", {"at": 2}, [2], 2.0, 1.5, 2**63, True], ids=str)
def test_a_version_that_is_not_an_integer_deletes_nothing(
    mirror: Callable[..., Run], members: Callable[[], str], version: object
) -> None:
    mirror(*table("ab", 1))
    messages = [json.loads(line) for line in (person("a", 0), activate(0))]
    run = mirror(schema(), *[json.dumps({**each, "version": version}) for each in messages])
    assert run.error is None
    assert members() == "ab"


def test_a_batch_after_the_last_version_deletes_nothing(
    mirror: Callable[..., Run], members: Callable[[], str], tmp_path: Path
) -> None:
    mirror(*table("ab", 1))
    path = tmp_path / "empty"
    path.touch()
    batch = {"stream": "list", "encoding": {"format": "jsonl"}, "manifest": [str(path)]}
    run = mirror(*table("a", 2), json.dumps({"type": "BATCH", **batch}))
    assert run.error is None
    assert members() == "ab"


def test_a_rejected_record_stops_the_mirror(
    mirror: Callable[..., Run], members: Callable[[], str], vendor: Mediarithmics
) -> None:
    mirror(*table("abc", 1))
    broken = person("", 2)
    run = mirror(
        schema(), person("a", 2), broken, person("b", 2), activate(2), max_rejected_records=1
    )
    assert run.summaries["list"]["rejected"] == 1
    assert members() == "abc"
    assert len(vendor.documents()) == 3


def test_a_dry_run_lists_the_deletions(
    mirror: Callable[..., Run], members: Callable[[], str], vendor: Mediarithmics
) -> None:
    mirror(*table("abcd", 1))
    run = mirror(*table("abc", 2), dry_run=True)
    (line,) = [line for line in run.log if "the mirror would" in line]
    assert "would delete 1 of 4 keys" in line
    assert [line for line in run.log if "for example" in line and '"email_hash":"d"' in line]
    assert members() == "abcd"
    mirror(*table("abc", 2))
    assert members() == "abc"
    assert len(vendor.documents()) == 5


def test_a_dry_run_counts_new_keys_as_a_run_does(mirror: Callable[..., Run]) -> None:
    mapping = {**MIRRORED, "mirror_max_deletes": 0.25}
    mirror(*table("abcd", 1), mapping=mapping)
    run = mirror(*table("cdefgh", 2), mapping=mapping, dry_run=True)
    assert run.error is None
    assert [line for line in run.log if "would delete 2 of 8 keys" in line]
    assert mirror(*table("cdefgh", 2), mapping=mapping).error is None


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_a_reset_deletes_nothing(
    mirror: Callable[..., Run], members: Callable[[], str], *, is_dry_run: bool
) -> None:
    mirror(*table("abc", 1))
    run = mirror(*table("ab", 2), ledger_reset=True, dry_run=is_dry_run)
    (line,) = [line for line in run.log if "the mirror" in line]
    assert line.endswith("deletes nothing, because 'ledger_reset' removes its keys from the ledger")
    assert members() == "abc"


def test_a_dry_run_shows_ten_examples(mirror: Callable[..., Run]) -> None:
    names = [f"n{number}" for number in range(30)]
    mirror(*table(names, 1))
    run = mirror(*table(names[12:], 2), dry_run=True)
    (line,) = [line for line in run.log if "the mirror would" in line]
    assert "would delete 12 of 30 keys" in line
    examples = [line for line in run.log if 'for example {"operation":"DELETE"' in line]
    assert len(set(examples)) == 10


@pytest.mark.parametrize("how", ["deletion", "mirror"])
def test_an_erased_person_leaves_no_identifier_in_the_ledger(
    mirror: Callable[..., Run], tmp_path: Path, how: str
) -> None:
    def holds(name: str) -> bool:
        return any(name.encode() in path.read_bytes() for path in tmp_path.glob("ledger.db*"))

    mirror(*table(["ada", "bo-the-erased"], 1))
    assert holds("bo-the-erased")
    if how == "mirror":
        mirror(*table(["ada"], 2))
    else:
        erased = person("bo-the-erased", 2, _sdc_deleted_at="2026-01-02T03:04:05Z")
        mirror(schema(), person("ada", 2), erased, deletes="apply")
    assert holds("ada")
    assert not holds("bo-the-erased")


def test_a_deleted_record_is_not_a_key_that_was_read(
    mirror: Callable[..., Run], members: Callable[[], str]
) -> None:
    mirror(*table("abc", 1))
    erased = person("c", 2, _sdc_deleted_at="2026-01-02T03:04:05Z")
    people = [person(name, 2) for name in "ab"]
    run = mirror(schema(), *people, erased, activate(2), deletes="apply")
    assert run.error is None
    assert members() == "ab"
    assert not [line for line in run.log if "the mirror" in line]


def test_keys_loaded_before_the_mirror_cannot_be_deleted(
    mirror: Callable[..., Run], members: Callable[[], str]
) -> None:
    mirror(*table("abcd", 1), mapping=SEGMENT)
    run = mirror(*table("abc", 2))
    assert members() == "abcd"
    assert [line for line in run.log if "cannot delete 1 key(s)" in line]
    mirror(*table("ab", 3))
    assert members() == "abd"


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"mirror": "perhaps"}, "key 'mirror': must be true or false"),
        ({"mirror_max_deletes": "many"}, "key 'mirror_max_deletes': must be a share below 1"),
        ({"mirror_max_deletes": -1}, "key 'mirror_max_deletes': must be a share below 1"),
        (
            {"document_type": "USER_ACTIVITY", "document": {"$user_account_id": "{{ id }}"}},
            "key 'mirror': its document type has no operation DELETE",
        ),
    ],
)
def test_a_wrong_mapping_is_a_setting_error(
    mirror: Callable[..., Run], mapping: dict[str, Any], message: str
) -> None:
    with pytest.raises(Exception, match=message):
        raise mirror(schema(), mapping={**MIRRORED, **mapping}).error or AssertionError


def test_a_mirror_needs_a_ledger(load: Callable[..., Run]) -> None:
    run = load(schema(), streams={"list": MIRRORED})
    assert "key 'mirror': needs the setting 'ledger'" in str(run.error)


def test_an_incremental_stream_cannot_be_mirrored(mirror: Callable[..., Run]) -> None:
    incremental = {**json.loads(schema()), "bookmark_properties": ["updated_at"]}
    run = mirror(json.dumps(incremental), person("a"))
    assert "key 'mirror': the stream is incremental" in str(run.error)


def test_a_deletion_that_is_rejected_is_reported_and_sent_again(
    mirror: Callable[..., Run], members: Callable[[], str], vendor: Mediarithmics
) -> None:
    mirror(*table("abcd", 1))
    vendor.refuse_if = lambda _, document: document["operation"] == "DELETE"
    run = mirror(*table("abc", 2), max_rejected_records=1)
    assert run.error is None
    (line,) = run.rejected
    assert line["record"]["email_hash"] == "d"
    assert members() == "abcd"
    vendor.refuse_if = None
    mirror(*table("abc", 3))
    assert members() == "abc"


def test_a_member_whose_change_is_rejected_stays_a_member(
    mirror: Callable[..., Run], members: Callable[[], str], vendor: Mediarithmics
) -> None:
    mirror(*table("abcd", 1))
    vendor.refuse_if = lambda _, document: document["email_hash"] == "e"
    mirror(*table("abce", 2), max_rejected_records=1)
    assert members() == "abcd"
    mirror(*table("abc", 3))
    assert members() == "abc"


def test_an_incomplete_input_deletes_nothing(
    mirror: Callable[..., Run], members: Callable[[], str]
) -> None:
    mirror(*table("abcd", 1))
    run = mirror(*table("abc", 2), "not a message")
    assert run.error is not None
    assert members() == "abcd"


def test_a_large_table_costs_only_its_changes(
    mirror: Callable[..., Run], vendor: Mediarithmics
) -> None:
    count, changed, removed = 10_000, 100, 50
    mapping = {**MIRRORED, "mirror_max_deletes": 0.2}
    mapping["document"] = {**MIRRORED["document"], "expiration_duration": "{{ minutes }}"}

    def full_read(version: int, minutes: int, first: int) -> list[str]:
        people = [
            person(str(number), version, minutes=minutes if number < first + changed else 60)
            for number in range(first, count)
        ]
        return [schema(), *people, activate(version)]

    mirror(*full_read(1, 60, 0), mapping=mapping)
    before = len(vendor.import_executions())
    run = mirror(*full_read(2, 90, removed), mapping=mapping)
    counts = run.summaries["list"]
    assert (counts["delivered"], counts["requests"]) == (changed, 1)
    assert counts["unchanged"] == count - removed - changed
    assert len(vendor.import_executions()) == before + 2
    members = vendor.members("vip")
    assert len(members) == count - removed
    assert list(members.values()).count(90) == changed
