from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mona.partial_failures import is_partial, rejected_indexes


def messages(*contexts: str | None) -> list[bytes]:
    return [
        json.dumps(
            {"arcClass": "a", "message": {"x": 1}} | ({"contextId": c} if c else {})
        ).encode()
        for c in contexts
    ]


NAMED = messages("a", "b", "c", None)
NUMBERED = messages("1", "2", "3", "4")


@pytest.mark.parametrize(
    ("failed", "reasons", "expected"),
    [
        (1, {"1": "r"}, {1: "r"}),
        (1, {"b": "r"}, {1: "r"}),
        (1, {"1": "r", "b": "r"}, {1: "r"}),
        (2, {"1": "r", "b": "r", "3": "q"}, {1: "r", 3: "q"}),
        (2, {"b": "r", "c": "q"}, {1: "r", 2: "q"}),
        (1, {"1:b": "r"}, {1: "r"}),
        (2, {"r": [0, 2]}, {0: "r", 2: "r"}),
        (2, {"r": ["a", "c"]}, {0: "r", 2: "r"}),
        (1, {"b": ["r", "q"]}, {1: "r; q"}),
        (1, {"b": {"reason": "r", "code": 5}}, {1: "r"}),
        (1, {"b": {"code": "\ud800"}}, {1: '{"code":"\ud800"}'}),
        (1, {"some-name": {"index": 1, "reason": "r"}}, {1: "r"}),
        (1, [{"index": 1, "contextId": "b", "error": "r"}], {1: "r"}),
        (1, [{"contextId": "b", "message": "r"}], {1: "r"}),
        (None, {"b": "r"}, {1: "r"}),
        (4, {"x": "r", "y": "q"}, dict.fromkeys(range(4), "r; q")),
        (4, {}, dict.fromkeys(range(4), "rejected without a reason")),
    ],
)
def test_the_rejected_messages_are_identified_in_every_form(
    failed: int | None, reasons: Any, expected: dict[int, str]
) -> None:
    content = {"failed": failed, "failure_reasons": reasons}
    assert is_partial(content)
    assert rejected_indexes(content, NAMED) == expected


@pytest.mark.parametrize(
    ("failed", "reasons"),
    [
        (1, {}),
        (1, None),
        (2, {"1": "r"}),
        (1, {"1:c": "r"}),
        (1, {"9": "r"}),
        (1, {"01": "r"}),
        (1, {"nobody": "r"}),
        (1, {"1" * 5000: "r"}),
        (1, {"r": [7]}),
        (1, [{"reason": "r"}]),
        (1, "all wrong"),
        (True, {}),
    ],
)
def test_an_unclear_response_identifies_no_message(failed: int, reasons: Any) -> None:
    assert rejected_indexes({"failed": failed, "failure_reasons": reasons}, NAMED) is None


def test_a_context_id_with_half_a_surrogate_is_identified() -> None:
    sent = messages("a", "x\ud800", "b")
    for name in ("1", "x\ud800"):
        content = {"failed": 1, "failure_reasons": {name: "r"}}
        assert rejected_indexes(content, sent) == {1: "r"}


def test_a_number_that_may_be_an_index_or_an_id_identifies_no_message() -> None:
    assert rejected_indexes({"failed": 1, "failure_reasons": {"3": "r"}}, NUMBERED) is None


def test_a_number_that_can_only_be_one_of_them_is_understood() -> None:
    assert rejected_indexes({"failed": 1, "failure_reasons": {"0": "r"}}, NUMBERED) == {0: "r"}
    assert rejected_indexes({"failed": 1, "failure_reasons": {"4": "r"}}, NUMBERED) == {3: "r"}
    both = {"2": "r", "3": "r"}
    assert rejected_indexes({"failed": 1, "failure_reasons": both}, NUMBERED) == {2: "r"}


def test_two_messages_with_one_id_are_identified_only_if_the_count_says_two() -> None:
    twice = messages("a", "a", "b")
    assert rejected_indexes({"failed": 1, "failure_reasons": {"a": "r"}}, twice) is None
    assert rejected_indexes({"failed": 2, "failure_reasons": {"a": "r"}}, twice) == {0: "r", 1: "r"}


@pytest.mark.parametrize("content", [None, [], "x", {}, {"topLevelError": "x"}, {"failed": 0}])
def test_other_responses_are_not_partial_rejections(content: Any) -> None:
    assert not is_partial(content)


@given(
    contexts=st.lists(st.none() | st.sampled_from(["0", "1", "2", "a", "b", "a.1"]), min_size=1),
    data=st.data(),
    mode=st.sampled_from(["index", "context_id", "both", "index_list", "none"]),
)
def test_no_other_message_is_ever_identified(
    contexts: list[str | None], data: st.DataObject, mode: str
) -> None:
    refused = data.draw(st.sets(st.integers(0, len(contexts) - 1), min_size=1))
    reasons: dict[str, Any] = {}
    for index in refused:
        context = contexts[index]
        if mode in {"index", "both"}:
            reasons[str(index)] = "r"
        if mode in {"context_id", "both"} and context:
            reasons[context] = "r"
        if mode == "index_list":
            reasons.setdefault("r", []).append(index)
    identified = rejected_indexes(
        {"failed": len(refused), "failure_reasons": reasons}, messages(*contexts)
    )
    assert identified is None or set(identified) == refused
