from __future__ import annotations

import threading
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError, Stopped
from target_monetate.target import TargetMonetate
from tests.target_monetate.conftest import (
    KEY,
    TEXT,
    as_input,
    record_message,
    schema_message,
    state_message,
)

if TYPE_CHECKING:
    from tests.sandbox.monetate import Monetate
    from tests.sandbox.server import Sandbox
    from tests.target_monetate.conftest import Loader

VISITS = schema_message(
    "store_visits", {"visit_id": {}, "customer_id": {}, "store": {}}, ["visit_id"]
)
POST = {"vendor": "monetate", "path": "/data/", "method": "POST"}


def visit(number: object, store: object = "x") -> dict[str, Any]:
    return record_message("store_visits", visit_id=number, customer_id="c", store=store)


def stored(monetate: Monetate) -> dict[str, Any]:
    return {row["visit_id"]: row["store"] for row in monetate.rows("store_visits")}


def test_rows_arrive_and_state_follows(load: Loader, monetate: Monetate) -> None:
    states = load(VISITS, visit(1, "a"), state_message(1), visit(2, "b"), state_message(2))
    assert stored(monetate) == {"1": "a", "2": "b"}
    assert states[-1] == {"bookmarks": {"n": 2}}
    assert monetate.posts[0].path == "/monetate/api/data/v1/shop/production/data/store_visits/"
    assert monetate.posts[0].headers["content-type"] == "application/json"
    assert monetate.posts[0].headers["authorization"].startswith("Token ")


def test_of_several_updates_of_a_key_in_a_request_the_last_wins(
    load: Loader, monetate: Monetate
) -> None:
    load(VISITS, visit(1, "a"), visit(2, "b"), visit(" 1 ", "c"), visit(1, "d"))
    assert stored(monetate) == {"1": "d", "2": "b"}
    assert monetate.posts[0].notes["rows"] == 2
    summary = load.summaries()["store_visits"]
    counts = [summary[name] for name in ("read", "delivered", "superseded", "rejected")]
    assert counts == [4, 2, 2, 0]


def test_updates_of_a_key_in_different_requests_arrive_in_order(
    load: Loader, monetate: Monetate
) -> None:
    monetate.latency = 0.01
    records = [visit(number % 3, str(number)) for number in range(30)]
    load(VISITS, *records, max_request_rows=2, parallel_requests=8)
    assert stored(monetate) == {"0": "27", "1": "28", "2": "29"}
    assert not monetate.overlapping_keys


def test_requests_hold_no_more_rows_and_bytes_than_set(load: Loader, monetate: Monetate) -> None:
    load(VISITS, *(visit(number) for number in range(1203)))
    assert sorted(post.notes["rows"] for post in monetate.posts) == [203, 500, 500]
    monetate.requests.clear()
    load(VISITS, *(visit(number, "x" * 100) for number in range(50)), max_request_bytes=1000)
    assert max(post.size for post in monetate.posts) <= 1000
    assert sum(post.notes["rows"] for post in monetate.posts) == 50


def test_a_request_may_have_the_very_bytes_that_are_set(load: Loader, monetate: Monetate) -> None:
    load(VISITS, visit("a"), visit("b"))
    exactly = monetate.posts[0].size
    for most, rows in ((exactly, [2]), (exactly - 1, [1, 1])):
        monetate.requests.clear()
        load(VISITS, visit("a"), visit("b"), max_request_bytes=most)
        assert [post.notes["rows"] for post in monetate.posts] == rows


@pytest.mark.parametrize("shape", ["rows", "nested", "object", "strings", "bare"])
@pytest.mark.parametrize("partial", [False, True])
def test_a_rejected_request_is_split_until_the_rejected_rows_are_found(
    load: Loader, monetate: Monetate, shape: str, partial: bool
) -> None:
    monetate.error_shape, monetate.partial_on_400 = shape, partial
    monetate.refuse_if = lambda _, row: "not in this shop" if row["store"] == "bad" else None
    records = [visit(number, "bad" if number in {7, 31} else "x") for number in range(40)]
    states = load(VISITS, *records, state_message(1), max_rejected_records=2)
    assert set(stored(monetate)) == {str(number) for number in range(40)} - {"7", "31"}
    rejects = load.rejects()
    assert {reject["key"]["visit_id"] for reject in rejects} == {7, 31}
    assert {reject["status"] for reject in rejects} == {400}
    if shape != "bare":
        assert all("not in this shop" in reject["reason"] for reject in rejects)
    for reject in rejects:
        assert reject["reason"].startswith("Monetate dataset 'store_visits': rejected with status")
        assert "{" not in reject["reason"]
    assert states == [{"bookmarks": {"n": 1}}]
    assert load.summaries()["store_visits"]["delivered"] == 38


def test_when_the_last_update_of_a_key_is_rejected_the_one_before_stays(
    load: Loader, monetate: Monetate
) -> None:
    monetate.refuse_if = lambda _, row: row["store"] == "bad"
    load(VISITS, visit(1, "good"), visit(1, "bad"), visit(2), max_rejected_records=1)
    assert stored(monetate) == {"1": "good", "2": "x"}
    assert load.summaries()["store_visits"]["superseded"] == 0


def test_a_request_that_is_too_large_for_the_vendor_is_split(
    load: Loader, monetate: Monetate
) -> None:
    monetate.max_rows = 3
    load(VISITS, *(visit(number) for number in range(10)))
    assert len(stored(monetate)) == 10


def test_warnings_of_the_vendor_are_logged_once(load: Loader, monetate: Monetate) -> None:
    monetate.warnings = [{"field": "store", "message": "is deprecated"}, {"code": 7}]
    load(VISITS, *(visit(number) for number in range(20)), max_request_rows=5)
    said = [line for line in load.lines("WARNING") if line.startswith("Monetate dataset")]
    assert sorted(said) == [
        "Monetate dataset 'store_visits': code: 7",
        "Monetate dataset 'store_visits': field store: is deprecated",
    ]


def test_the_number_of_logged_warnings_is_limited(load: Loader, sandbox: Sandbox) -> None:
    warnings = [f"row {number}" for number in range(1000)]
    sandbox.faults.add(**POST, status=201, body={"meta": {"warnings": warnings}, "data": {}})
    load(VISITS, visit(1))
    said = [line for line in load.lines("WARNING") if line.startswith("Monetate dataset")]
    assert len(said) == 101
    assert said[-1].endswith("further warnings are not logged")


def test_a_success_that_names_an_error_is_not_a_success(load: Loader, sandbox: Sandbox) -> None:
    body = {"meta": {"code": 201, "errors": [{"message": "not stored"}]}, "data": {}}
    sandbox.faults.add(**POST, status=201, body=body, times=None)
    with pytest.raises(MartechError, match="not stored"):
        load(VISITS, visit(1), visit(2), state_message(1), max_attempts=2)
    assert load.states() == []


def test_a_replay_changes_nothing_where_there_is_a_unique_key(
    load: Loader, monetate: Monetate
) -> None:
    messages = [VISITS, *(visit(number % 7, str(number)) for number in range(20))]
    load(*messages)
    first = monetate.rows("store_visits")
    load(*messages)
    assert monetate.rows("store_visits") == first
    assert len(first) == 7


def test_a_failed_run_can_be_repeated(load: Loader, monetate: Monetate, sandbox: Sandbox) -> None:
    messages: list[Any] = [VISITS]
    for number in range(30):
        messages += [visit(number, str(number)), state_message(number)]
    sandbox.faults.add(**POST, status=500, after=2, times=None)
    settings = {"max_request_rows": 5, "max_attempts": 1, "parallel_requests": 1}
    with pytest.raises(MartechError, match="gave up after 1 attempt"):
        load(*messages, **settings)
    proven = load.states()[-1]["bookmarks"]["n"]
    assert proven == 9
    assert set(stored(monetate)) == set(map(str, range(10)))
    sandbox.faults.clear()
    rest = messages[1 + 2 * (proven + 1) :]
    assert load(VISITS, *rest, **settings)[-1] == {"bookmarks": {"n": 29}}
    assert stored(monetate) == {str(number): str(number) for number in range(30)}


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 500, "after_acting": True},
        {"status": 429, "retry_after": 0.01},
        {"status": 408},
        {"reset": "before"},
        {"reset": "after"},
        {"reset": "mid-body"},
        {"expire_token": True},
    ],
    ids=str,
)
def test_a_temporary_failure_loses_and_repeats_nothing(
    load: Loader, monetate: Monetate, sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    sandbox.faults.add(**POST, times=1, **fault)
    states = load(VISITS, *(visit(number, "a") for number in range(10)), state_message(1))
    assert stored(monetate) == {str(number): "a" for number in range(10)}
    assert states == [{"bookmarks": {"n": 1}}]
    assert load.summaries()["store_visits"]["retries"] == 1
    assert not load.rejects()


def test_a_key_that_is_revoked_mid_run_stops_it(
    load: Loader, monetate: Monetate, sandbox: Sandbox
) -> None:
    sandbox.faults.add(**POST, status=403, after=1, times=None)
    with pytest.raises(MartechError, match=r"status 403.*check that the API key"):
        load(
            *(VISITS, visit(1), state_message(1), visit(2), state_message(2)),
            max_request_rows=1,
            parallel_requests=1,
        )
    assert load.states() == [{"bookmarks": {"n": 1}}]
    assert len(monetate.posts) == 2
    assert not load.rejects()


def test_a_login_that_is_rejected_during_a_run_rejects_no_row(
    load: Loader, sandbox: Sandbox
) -> None:
    sandbox.faults.add(**POST, expire_token=True)
    sandbox.faults.add("monetate", "/refresh/", status=400, after=1, times=None)
    with pytest.raises(MartechError, match="Monetate login: rejected with status 400"):
        load(VISITS, visit(1), visit(2), state_message(1))
    assert not load.rejects()
    assert load.states() == []


def test_a_dataset_that_disappears_mid_run_stops_it(load: Loader, sandbox: Sandbox) -> None:
    sandbox.faults.add(**POST, status=404)
    with pytest.raises(
        MartechError, match=r"dataset 'store_visits': .* check settings 'api_url' and 'retailer'"
    ):
        load(VISITS, visit(1))


class TestWithoutUniqueKey:
    """Rows that are added each time they are sent."""

    SCHEMA = schema_message("purchase_events", {"customer_id": KEY, "product_id": TEXT})

    def messages(self, count: int) -> list[dict[str, Any]]:
        return [
            self.SCHEMA,
            *(
                record_message("purchase_events", customer_id="c", product_id=str(number))
                for number in range(count)
            ),
        ]

    def settings(self, **more: Any) -> dict[str, Any]:
        return {"streams": {"purchase_events": {"allow_append": True}}, **more}

    def products(self, monetate: Monetate) -> list[str]:
        return [row["product_id"] for row in monetate.rows("purchase_events")]

    @pytest.mark.parametrize(
        "fault",
        [{"status": 429, "retry_after": 0.01}, {"expire_token": True}],
        ids=str,
    )
    def test_a_row_that_was_certainly_not_accepted_is_sent_again(
        self, load: Loader, monetate: Monetate, sandbox: Sandbox, fault: dict[str, Any]
    ) -> None:
        sandbox.faults.add(**POST, **fault)
        load(*self.messages(5), **self.settings())
        assert self.products(monetate) == ["0", "1", "2", "3", "4"]

    @pytest.mark.parametrize(
        ("fault", "taken"),
        [
            ({"reset": "after"}, 5),
            ({"status": 500, "after_acting": True}, 5),
            ({"reset": "before"}, 0),
        ],
        ids=str,
    )
    def test_a_row_that_may_have_been_accepted_is_reported_and_not_sent_again(
        self,
        load: Loader,
        monetate: Monetate,
        sandbox: Sandbox,
        fault: dict[str, Any],
        taken: int,
    ) -> None:
        sandbox.faults.add(**POST, times=None, **fault)
        load(*self.messages(5), **self.settings(max_rejected_records=5))
        assert len(self.products(monetate)) == taken
        rejects = load.rejects()
        assert len(rejects) == 5
        assert all(reject["reason"].startswith("outcome unknown: ") for reject in rejects)
        assert len(monetate.posts) == 1

    @pytest.mark.parametrize("partial", [False, True])
    def test_a_rejected_request_is_not_split_since_some_rows_may_have_been_accepted(
        self, load: Loader, monetate: Monetate, partial: bool
    ) -> None:
        monetate.partial_on_400 = partial
        monetate.refuse_if = lambda _, row: row["product_id"] == "3"
        load(*self.messages(5), **self.settings(max_rejected_records=5))
        assert len(self.products(monetate)) == (4 if partial else 0)
        assert len(load.rejects()) == 5
        assert all(each["reason"].startswith("outcome unknown") for each in load.rejects())
        assert len(monetate.posts) == 1

    def test_a_single_rejected_row_was_certainly_not_accepted(
        self, load: Loader, monetate: Monetate
    ) -> None:
        monetate.refuse_if = lambda _, row: row["product_id"] == "3"
        settings = self.settings(max_rejected_records=1, max_request_rows=1)
        load(*self.messages(5), **settings)
        assert sorted(self.products(monetate)) == ["0", "1", "2", "4"]
        assert "outcome unknown" not in load.rejects()[0]["reason"]

    def test_a_request_that_is_too_large_is_split(self, load: Loader, monetate: Monetate) -> None:
        monetate.max_rows = 2
        load(*self.messages(5), **self.settings())
        assert sorted(self.products(monetate)) == ["0", "1", "2", "3", "4"]

    def test_rows_that_are_alike_are_all_sent(self, load: Loader, monetate: Monetate) -> None:
        row = record_message("purchase_events", customer_id="c", product_id="p")
        load(self.SCHEMA, row, row, row, **self.settings())
        assert self.products(monetate) == ["p", "p", "p"]


def test_mappings_make_the_rows(load: Loader, monetate: Monetate) -> None:
    row = {"visit_id": "{{ id }}", "customer_id": "{{ who.id }}", "store": "{{ missing }}"}
    streams = {"raw": {"schema": "store_visits", "row": row}}
    schema = schema_message("raw", {"id": {}, "who": {}}, ["id"])
    record = record_message("raw", id=5, who={"id": " x "})
    load(schema, record, streams=streams)
    assert monetate.raw_rows("store_visits") == ['{"visit_id":"5","customer_id":"x"}']


def test_a_row_may_be_an_object_of_the_record(load: Loader, monetate: Monetate) -> None:
    streams = {"raw": {"schema": "store_visits", "row": "{{ payload }}"}}
    load(
        schema_message("raw", {"payload": {}}),
        record_message("raw", payload={"visit_id": 1, "customer_id": "c"}),
        record_message("raw", payload=[1]),
        record_message("raw"),
        streams=streams,
        max_rejected_records=2,
    )
    assert set(stored(monetate)) == {"1"}
    assert [each["reason"] for each in load.rejects()] == [
        "its row is not an object",
        "its row is empty",
    ]


def test_deletes_are_skipped_or_rejected(load: Loader, monetate: Monetate) -> None:
    gone = visit(1)
    gone["record"]["_sdc_deleted_at"] = "2024-01-01T00:00:00Z"
    load(VISITS, gone, visit(2))
    assert set(stored(monetate)) == {"2"}
    assert load.summaries()["store_visits"]["skipped_deletes"] == 1
    with pytest.raises(MartechError, match="the record is deleted"):
        load(VISITS, gone, deletes="reject")


def test_a_dry_run_reads_the_dataset_and_sends_nothing(load: Loader, monetate: Monetate) -> None:
    states = load(VISITS, visit(1, " a "), visit(2), state_message(1), dry_run=True)
    assert states == []
    assert {request.method for request in monetate.requests} == {"GET"}
    (shown,) = [line for line in load.lines() if line.startswith("dry run: the first request")]
    assert "/data/store_visits/ " in shown
    assert '{"schema_rows":[{"visit_id":"1","customer_id":"c","store":"a"},' in shown


def test_a_stopped_run_sends_nothing_new(
    load: Loader, monetate: Monetate, sandbox: Sandbox
) -> None:
    held = sandbox.faults.add(**POST, hold=True)
    target = TargetMonetate(config=load.settings(max_request_rows=1, parallel_requests=1))

    def shutdown() -> None:
        sandbox.wait_for_requests("monetate", "/data/store_visits/")
        target.shutdown.request()
        held.release()

    stopper = threading.Thread(target=shutdown)
    stopper.start()
    messages = [VISITS]
    for number in range(50):
        messages += [visit(number), state_message(number)]
    with pytest.raises(Stopped):
        target.listen(StringIO(as_input(messages)))
    stopper.join()
    assert len(monetate.posts) == 1
    assert load.states() == [{"bookmarks": {"n": 0}}]
