"""What a device gets when it asks its hub for STUN and TURN: the ladder in order, its region's servers first, and a credential of its own."""

import time

import aiohttp
import pytest

from signaling.client.rest import ClientError, RestClient
from signaling.wire.errors import ErrorCode
from tests.integration.hub_fixture import beside, register
from turn_config.credentials import make_credential

SECRET = "t" * 40
SERVERS = {
    "stun_urls": ("stun:any", "eu=stun:eu"),
    "turn_urls": (
        "turns:any:443",
        "eu=turns:eu:443",
        "eu=turns:eu",
        "us=turn:us",
        "eu=turn:eu?transport=tcp",
        "eu=turn:eu",
        "turn:any",
    ),
    "turn_secret": SECRET,
    "turn_lifetime": 600,
}
EU = ["turn:eu:3478?transport=udp", "turn:eu:3478?transport=tcp", "turns:eu:5349?transport=tcp", "turns:eu:443?transport=tcp"]
ANY = ["turn:any:3478?transport=udp", "turns:any:443?transport=tcp"]
US = ["turn:us:3478?transport=udp"]


class Asking:
    """A device's questions to one hub."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self._rest, self._token = RestClient(http, url), token

    async def servers(self, region: str | None = None):
        query = {} if region is None else {"region": region}
        answer = await self._rest.ask("ice.servers", token=self._token, query=query)
        stun, turn = answer.ice_servers
        assert stun.urls[0].startswith("stun:")
        assert not stun.username
        return stun.urls, turn


async def test_a_client_gets_the_servers_of_its_hub_s_region_first_or_of_the_one_that_it_names(hub):
    async with (
        beside(hub, **SERVERS, turn_region="eu") as european,
        beside(hub, **SERVERS) as anywhere,
        aiohttp.ClientSession() as http,
        await register(hub, "+4930901820") as alice,
    ):
        token = alice._profile().token
        there, elsewhere = Asking(http, european.url, token), Asking(http, anywhere.url, token)

        stun, turn = await there.servers()
        assert (stun, turn.urls) == (["stun:eu:3478", "stun:any:3478"], EU + ANY)
        stun, turn = await there.servers("us")
        assert (stun, turn.urls) == (["stun:eu:3478", "stun:any:3478"], US + ANY)
        assert (await there.servers("mars"))[1].urls == EU + ANY  # there is nothing: the hub's own
        assert (await elsewhere.servers("eu"))[1].urls == EU + ANY

        everything = (await elsewhere.servers())[1].urls
        assert sorted(everything) == sorted(EU + ANY + US)
        kinds = [(url.split(":")[0], url.split("=")[1]) for url in everything]
        assert kinds == sorted(kinds, key=[("turn", "udp"), ("turn", "tcp"), ("turns", "tcp")].index)
        for wrong in ("EU", "e u", "e" * 17, ""):
            with pytest.raises(ClientError) as refused:
                await there.servers(wrong)
            assert refused.value.code is ErrorCode.INVALID


async def test_each_answer_has_a_credential_of_its_own_that_names_nobody(hub):
    async with (
        beside(hub, **SERVERS) as running,
        aiohttp.ClientSession() as http,
        await register(hub, "+4930901821") as alice,
    ):
        device = alice._profile().device
        asking = Asking(http, running.url, alice._profile().token)
        first, second = (await asking.servers())[1], (await asking.servers())[1]
        assert first.username != second.username
        for turn in (first, second):
            expiry, user = turn.username.split(":")
            assert 590 < int(expiry) - time.time() <= 600
            assert user not in device
            assert device not in user
            assert turn.credential == make_credential(SECRET, user=user, expires_at=int(expiry)).password
        with pytest.raises(ClientError) as refused:
            await Asking(http, running.url, "kts_" + "x" * 40).servers()
        assert refused.value.code is ErrorCode.UNAUTHENTICATED
