"""Place a call from code: register once, then call a number and play it a tone or a file.

    python docs/examples/place_call.py --phone +4930901899 --email robot@example.org --call +442079460018
    python docs/examples/place_call.py --call +442079460018 --play hello.wav

Needs ``pip install 'kloudtalk[client]'``. The first form registers and asks for the two codes; the session and keys are kept in a file.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from signaling.client.client import Client
from signaling.client.media import ToneTrack, file_track
from signaling.client.profile import Profile
from signaling.client.rest import ClientError
from signaling.wire.messages import Stage
from signaling.wire.rest import Channel


async def ask(channel: Channel, to: str) -> str:
    """Ask the person at the terminal for a code."""
    return (await asyncio.to_thread(input, f"Code sent to {to}: ")).strip()


async def main() -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Place a call from code.")
    parser.add_argument("--server", default="http://localhost:8440", help="address of the server (default: %(default)s)")
    parser.add_argument(
        "--profile", type=Path, default=Path("profile.json"), help="file with session and keys (default: %(default)s)"
    )
    parser.add_argument("--phone", help="your number, to register")
    parser.add_argument("--email", help="your address, to register")
    parser.add_argument("--call", required=True, metavar="NUMBER", help="number to call, with + and country code")
    parser.add_argument("--play", metavar="FILE", help="audio file to play (default: a tone of 440 Hz)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to talk (default: %(default)s)")
    options = parser.parse_args()
    known = options.profile.exists()
    if not known and not (options.phone and options.email):
        parser.error("no profile yet: give --phone and --email to register")
    async with Client(options.server, Profile.load(options.profile) if known else None) as client:
        if not known:
            await client.register(phone=options.phone, email=options.email, code=ask, device_name="place_call.py")
            await client.allow_phonebook()
        profile = client.profile
        if profile is None:
            raise SystemExit("not signed in")
        matches = await client.find({options.call: "called by place_call.py"})
        profile.save(options.profile)
        if options.call not in matches:
            print(f"{options.call} is not on this server.", file=sys.stderr)
            return 1
        call = await client.call(matches[options.call], track=file_track(options.play) if options.play else ToneTrack(440))
        print("calling…")
        try:
            await call.reach(Stage.CONNECTED, timeout=60)
        except ConnectionError as error:
            print(error, file=sys.stderr)
            return 1
        print(f"connected; safety number {call.safety_number()}")
        try:
            await call.reach(Stage.ENDED, timeout=options.seconds)
        except TimeoutError:
            await call.hangup()
        profile.save(options.profile)  # with the identity key of the callee pinned
        print("ended")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except (ClientError, PermissionError, OSError) as error:
        sys.exit(f"place_call: {error}")
