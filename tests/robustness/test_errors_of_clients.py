from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from singer_martech.errors import MartechError
from singer_martech.http.settings import HttpSettings
from singer_martech.mediarithmics.client import MediarithmicsClient
from tap_robotmia.client import RobotmiaClient
from target_mona.client import MonaClient
from target_monetate.client import MonetateClient
from tests.kit.scripted_server import Reply, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable

ONCE = HttpSettings(max_attempts=1)
DAY = datetime.date(2024, 1, 1)


def robotmia(url: str) -> None:
    RobotmiaClient("secret", url, http=ONCE).export(DAY, DAY)


def mediarithmics(url: str) -> None:
    MediarithmicsClient("token", url, settings=ONCE).send("GET", "things", label="things")


def mona(url: str) -> None:
    MonaClient(user_id="u", access_token="t", api_url=url, settings=ONCE).export([b"{}"])


def monetate(url: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    client = MonetateClient(retailer="r", username="u", private_key=key, api_url=url, settings=ONCE)
    client.dataset("things")


REPLIES = [
    Reply(410, b""),
    Reply(503, b""),
    Reply(302, b"", {"Location": "ftp://127.0.0.1/"}),
    Reply(200, b"", {"Transfer-Encoding": "chunked"}, cut=True),
]


@pytest.mark.parametrize("request_to", [robotmia, mediarithmics, mona, monetate])
@pytest.mark.parametrize("reply", REPLIES)
def test_no_error_is_its_own_cause(request_to: Callable[[str], None], reply: Reply) -> None:
    with ScriptedServer() as server:
        server.script(reply)
        with pytest.raises(MartechError) as caught:
            request_to(server.url)
    passed: list[BaseException] = []
    error: BaseException | None = caught.value
    while error is not None:
        assert error not in passed
        passed.append(error)
        error = error.__cause__
