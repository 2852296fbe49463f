"""Two people register, find each other and talk; run by ``test_compose.py`` in the place of a client.

    compose_call.py URL LOG...

``LOG``: where hubs print the codes. Says ``connected``, waits for a line, and talks on before it hangs up.
"""

import asyncio
import re
import sys
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from signaling.client.client import Client
from signaling.client.media import Listener, ToneTrack
from signaling.wire.messages import Reason, Stage

ALICE, BOB = "+4915112345678", "+4915187654321"


async def main(url: str, logs: list[Path]) -> None:
    """The call."""

    async def code(_channel: object, to: str) -> str:
        while True:  # a hub prints it within the answer to the request, to a file that another process writes
            for log in logs:
                if found := re.findall(rf"code (\d+) for {re.escape(to)}$", log.read_text(errors="replace"), re.MULTILINE):
                    return str(found[-1])
            await asyncio.sleep(0.05)

    async with AsyncExitStack() as stack:
        clients = []
        for number in (ALICE, BOB):
            client = await stack.enter_async_context(Client(url))
            await client.register(phone=number, email=f"a{number[1:]}@kloudtalk.dev", code=code, device_name="compose")
            await client.allow_phonebook()
            clients.append(client)
        alice, bob = clients
        await alice.find({BOB: "Bob"})
        await bob.find({ALICE: "Alice"})
        at_alice, at_bob = Listener(), Listener()
        outgoing = await alice.call(await alice.joined(BOB), track=ToneTrack(440), heard=at_alice)
        async with asyncio.timeout(20):
            incoming = await bob.incoming.get()
        await incoming.accept(track=ToneTrack(620), heard=at_bob)
        await asyncio.gather(outgoing.reach(Stage.CONNECTED), incoming.reach(Stage.CONNECTED))
        await asyncio.gather(at_alice.hears(620), at_bob.hears(440))
        print("connected", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(at_alice.hears(620), at_bob.hears(440))
        await outgoing.hangup()
        await incoming.reach(Stage.ENDED)
        if incoming.reason is not Reason.HANGUP:
            raise SystemExit(f"ended as {incoming.reason}")
        print("hung up", flush=True)


asyncio.run(main(sys.argv[1], [Path(log) for log in sys.argv[2:]]))
