"""Two sessions of a real hub are fed with messages that a client could make up: each request is answered exactly once, nothing is raised."""

import asyncio
import itertools
import json
import logging
import random

import aiohttp

from tests.integration.hub_fixture import hub
from tests.integration.test_client_calls import ALICE, BOB, acquainted

__all__ = ["hub"]

ROUNDS, FRAMES = 12, 120
KINDS = ("ringing", "accept", "decline", "busy", "connected", "failed", "hangup", "signal", "invite")


def made_up(rng: random.Random, number: int, calls: list[str], accounts: list[str], devices: list[str]) -> dict:
    """A message that is nearly or wholly right."""
    kind = rng.choice(KINDS)
    sealed = "s" * rng.choice((127, 128, 400, 16_384, 16_385))
    message = {"type": f"call.{kind}", "id": number, "call": rng.choice(calls)}
    if kind == "invite":
        some = rng.sample(devices, rng.randint(0, len(devices)))
        message |= {"to": rng.choice(accounts), "payloads": dict.fromkeys(some, sealed)}
    if kind in ("accept", "signal"):
        message["payload"] = sealed
    if kind == "signal":
        message["to"] = rng.choice(devices)
    if rng.random() < 0.15:
        message[rng.choice(list(message))] = rng.choice((None, 7, "", [], {}, "x" * 22, -1, 2**70))
    return message


async def test_made_up_sessions(hub, caplog):
    caplog.set_level(logging.ERROR)
    rng = random.Random(20261124)
    accounts_of = await _accounts(hub)
    devices = [client.profile.device for client in accounts_of] + ["Z" * 22]
    accounts = [client.profile.account for client in accounts_of] + ["Z" * 22]
    tokens = [client.profile.token for client in accounts_of]
    for client in accounts_of:
        await client.close()
    numbers = itertools.count(1)
    async with aiohttp.ClientSession() as http:
        for _ in range(ROUNDS):
            calls = ["".join(rng.choices("abcdefgh", k=22)) for _ in range(3)]
            await asyncio.gather(*(_session(http, hub.url, token, rng, numbers, calls, accounts, devices) for token in tokens))
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def _accounts(hub) -> list:
    from contextlib import AsyncExitStack

    stack = AsyncExitStack()
    pair = list(await acquainted(hub, stack))
    assert {client.profile.phone for client in pair} == {ALICE, BOB}
    return pair


async def _session(http, url, token, rng, numbers, calls, accounts, devices) -> None:
    async with http.ws_connect(url + "/v1/ws", protocols=("kloudtalk.v1",)) as ws:
        await ws.send_str(json.dumps({"type": "hello", "id": 0, "token": token}))
        sent: set[int] = set()
        unnamed = 0
        for _ in range(FRAMES):
            number = next(numbers)
            message = made_up(rng, number, calls, accounts, devices)
            if message.get("id") == number and isinstance(message.get("type"), str):
                sent.add(number)
            else:
                unnamed += 1  # its number cannot be read, or is another one
            await ws.send_str(json.dumps(message))
        answered: list[int] = []
        others = 0
        async with asyncio.timeout(30):
            while len(answered) + others < FRAMES:
                answer = await ws.receive_json()
                if answer["type"] in ("ok", "error") and answer.get("re") != 0:
                    if answer.get("re") in sent:
                        answered.append(answer["re"])
                    else:
                        others += 1
        assert sorted(answered) == sorted(sent)  # each exactly once
        assert others == unnamed
        # and nothing comes after that
        await ws.send_str(json.dumps({"type": "call.hangup", "id": 2**52, "call": "Z" * 22}))
        async with asyncio.timeout(10):
            while (answer := await ws.receive_json())["type"] not in ("ok", "error"):
                pass
        assert answer["re"] == 2**52
