"""Hubs and clients of the last release work with this one: nothing that one relies on is gone (``tests/compatibility.py`` made the recordings)."""

import base64
import json
from typing import Any

import pytest

from signaling.calls.pair import decode_state
from signaling.cluster.messages import decode_bus
from signaling.wire.codec import BadFrame, decode_client, decode_server
from tests.compatibility import FOLDER, scene

RECORDINGS = sorted(FOLDER.glob("protocol-*.json"))


@pytest.fixture(params=RECORDINGS, ids=lambda file: file.stem)
def recording(request) -> dict[str, Any]:
    return json.loads(request.param.read_text())


def shape(value: Any) -> set[str]:
    """The paths of all members; of lists, those of any entry. What is under an identifier is under `*`."""
    if isinstance(value, dict):
        return {f".{name if len(name) != 22 else '*'}{path}" for name, inner in value.items() for path in {"", *shape(inner)}}
    if isinstance(value, list):
        return {f"[]{path}" for inner in value for path in shape(inner)}
    return set()


def shapes(frames: list[dict[str, Any]]) -> dict[str, set[str]]:
    """What the messages of each type have, all of them together."""
    found: dict[str, set[str]] = {}
    for frame in frames:
        found.setdefault(frame["type"], set()).update(shape(frame))
    return found


def test_there_is_a_recording():
    assert RECORDINGS


def test_this_hub_understands_what_clients_of_the_release_say(recording):
    assert [frame for frame in recording["said"] if isinstance(decode_client(json.dumps(frame)), BadFrame)] == []


def test_clients_of_this_release_understand_what_its_hubs_say(recording):
    for frame in recording["heard"]:
        decode_server(json.dumps(frame))


def test_this_hub_takes_over_calls_that_its_hubs_keep(recording):
    known = [call for stored in recording["stored"] for call in decode_state(base64.b64decode(stored))[1]]
    assert known == [recording["up"]]


def test_this_hub_understands_what_its_hubs_tell_each_other(recording):
    assert [sent for sent in recording["cluster"] if decode_bus(base64.b64decode(sent)) is None] == []


async def test_this_hub_says_all_that_clients_of_the_release_were_told(recording, hub, redis, book_redis):
    now = await scene(hub, hub.hub.database, redis, book_redis)
    told, before = shapes(now["heard"]), shapes(recording["heard"])
    assert {kind: members - told.get(kind, set()) for kind, members in before.items() if members - told.get(kind, set())} == {}
    for path, answer in recording["rest"].items():
        assert shape(answer) - shape(now["rest"][path]) == set(), path
