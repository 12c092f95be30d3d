from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from singer_martech.errors import MartechError, Stopped
from singer_martech.http.client import HttpClient
from singer_martech.http.content import json_body
from singer_martech.http.errors import NotFound, RetriesExhausted
from singer_martech.http.recovery import recover_lost
from singer_martech.http.settings import HttpSettings
from singer_martech.http.stats import RequestStats
from tests.kit.scripted_server import RESET, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from singer_martech.http.errors import InvalidResponse, OutcomeUnknown
    from tests.kit.scripted_server import ScriptedServer

CREATED = Reply(200, b'{"id": 7}')


class Things:
    """Creates objects and finds created ones."""

    def __init__(self, client: HttpClient, server: ScriptedServer) -> None:
        self.client = client
        self.server = server
        self.stats = RequestStats()
        self.lost: list[OutcomeUnknown | InvalidResponse] = []

    def create(self) -> int:
        response = self.client.request(
            "POST", self.server.url, label="creating a thing", json={}, idempotent=False
        )
        return int(json_body(response)["id"])

    def recovered(self, find: Callable[[], int | None]) -> int:
        def look(error: OutcomeUnknown | InvalidResponse) -> int | None:
            self.lost.append(error)
            return find()

        label = "creating a thing"
        return recover_lost(self.client, self.create, look, label=label, stats=self.stats)


@pytest.fixture
def things(server: ScriptedServer) -> Iterator[Things]:
    client = HttpClient(HttpSettings(request_timeout_seconds=5, max_attempts=2))
    yield Things(client, server)
    client.close()


def test_no_search_is_made_if_the_response_arrives(things: Things) -> None:
    things.server.script(CREATED)
    assert things.recovered(lambda: 1) == 7
    assert things.lost == []


@pytest.mark.parametrize("lost", [Reply(RESET), Reply(503), Reply(200, b"garbage")])
def test_what_a_lost_request_created_is_found_and_not_created_again(
    things: Things, lost: Reply
) -> None:
    things.server.script(lost, CREATED)
    assert things.recovered(lambda: 1) == 1
    assert len(things.server.received) == 1


def test_a_lost_request_without_effect_is_sent_again(things: Things) -> None:
    things.server.script(Reply(RESET), CREATED)
    assert things.recovered(lambda: None) == 7
    assert len(things.server.received) == 2
    assert things.stats.retries == 1


def test_attempts_end_with_max_attempts(things: Things) -> None:
    things.server.script(Reply(RESET))
    with pytest.raises(RetriesExhausted, match=r"creating a thing: gave up after 2 attempts"):
        things.recovered(lambda: None)
    assert len(things.server.received) == 2


def test_a_rejection_is_raised_without_a_search(things: Things) -> None:
    things.server.script(Reply(404))
    with pytest.raises(NotFound):
        things.recovered(lambda: 1)
    assert things.lost == []


def test_a_search_without_a_clear_result_ends_the_attempts(things: Things) -> None:
    things.server.script(Reply(RESET), CREATED)

    def find() -> int | None:
        raise MartechError("two things may be it")

    with pytest.raises(MartechError, match="two things may be it"):
        things.recovered(find)
    assert len(things.server.received) == 1


def test_a_signal_ends_the_wait_for_the_next_attempt(things: Things) -> None:
    things.server.script(Reply(RESET), CREATED)

    def find() -> int | None:
        things.client.shutdown.request(signal.SIGTERM)
        return None

    with pytest.raises(Stopped):
        things.recovered(find)
    assert len(things.server.received) == 1
