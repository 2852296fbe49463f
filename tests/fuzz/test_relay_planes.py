"""The data plane in C does what the one in Python does: the same events, the same counts, bit for bit."""

import contextlib
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hatch_build import compile_plane
from media.native import NativePlane, available, load
from media.plane import PythonPlane
from tests.conftest import Clock
from tests.fuzz.test_relay import datagrams

pytestmark = pytest.mark.skipif(not available(), reason="the data plane in C was not built: there is no compiler")

ROOT = Path(__file__).parents[2]
SLOTS = 6
HOSTS = ("127.0.0.1", "198.51.100.7", "::1", "2001:db8::7")
addresses = st.tuples(st.sampled_from(HOSTS), st.integers(1, 3))
slots, numbers = st.integers(0, SLOTS - 1), st.integers(0, 1)
pairs = st.integers(0, SLOTS // 2 - 1)

media_packets = st.builds(
    lambda kind, sequence, timestamp, ssrc, size: (
        bytes([0x80, kind]) + sequence.to_bytes(2, "big") + timestamp.to_bytes(4, "big") + ssrc.to_bytes(4, "big") + bytes(size)
    ),
    st.sampled_from([111, 200, 0x7F, 0xFF]),
    st.one_of(st.integers(0, 200), st.integers(0, 0xFFFF)),
    st.one_of(st.integers(0, 200).map(lambda n: n * 960), st.integers(0, 0xFFFFFFFF)),
    st.integers(0, 1),
    st.integers(0, 1600),
)
handshakes = st.binary(max_size=20).map(lambda tail: b"\x16\xfe\xfd" + bytes(10) + tail)

events = st.one_of(
    st.tuples(st.just("receive"), numbers, st.one_of(media_packets, media_packets, handshakes, datagrams), addresses),
    st.tuples(st.just("receive"), numbers, media_packets, addresses),
    st.tuples(st.just("join"), pairs),
    st.tuples(st.just("free"), slots),
    st.tuples(st.just("admit"), slots, numbers, addresses),
    st.tuples(st.just("dismiss"), numbers, addresses),
    st.tuples(st.just("aim"), slots, numbers, st.one_of(st.none(), addresses)),
    st.tuples(st.just("wait"), st.floats(0, 2)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(events, max_size=120))
def test_both_planes_count_the_same(happened):
    clock = Clock(1_000.0)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(f, socket.SOCK_DGRAM)) for f in (socket.AF_INET, socket.AF_INET6)]
        sent, early = [], []
        options = {"slots": SLOTS, "bandwidth": 8_000.0, "on_stun": lambda *_: None, "clock": clock}
        python = PythonPlane(sockets, on_early=lambda slot, data: early.append((slot, data)), **options)
        python.send = lambda *what: sent.append(what)
        native = NativePlane(sockets, on_early=lambda *_: None, **options)
        stack.callback(native._library.plane_delete, native._plane)
        stack.callback(native._up.close)
        stack.callback(native._other_end.close)
        for event, *arguments in happened:
            if event == "wait":
                clock.advance(arguments[0])
            elif event == "join":
                if python._slots[2 * arguments[0]].peer is not None:
                    continue  # a relay joins slots that are free
                for plane in (python, native):
                    plane.join(2 * arguments[0], 2 * arguments[0] + 1)
            elif event == "free":
                # a leg dismisses its addresses first; here it is not known which they are
                for number in (0, 1):
                    for source, slot in tuple(python._sources[number].items()):
                        if slot is python._slots[arguments[0]]:
                            for plane in (python, native):
                                plane.dismiss(number, source)
                for plane in (python, native):
                    plane.free(arguments[0])
            elif event == "receive":
                before = len(sent), len(early)
                python.receive(*arguments)
                verdict = native.receive(*arguments)
                assert (verdict == 1, verdict == 3) == (len(sent) > before[0], len(early) > before[1])
            else:
                if event == "admit" and python._slots[arguments[0]].peer is None:
                    continue  # only joined slots have legs
                for plane in (python, native):
                    getattr(plane, event)(*arguments)
        assert native.counts() == python.counts()
        for slot in range(SLOTS):
            ours, theirs = native.traffic(slot), python.traffic(slot)
            assert (ours.packets, ours.bytes, ours.last_heard, ours.capped) == (
                theirs.packets, theirs.bytes, theirs.last_heard, theirs.capped
            )  # fmt: skip
            assert (ours.quality.received, ours.quality.expected, ours.quality.jitter) == (
                theirs.quality.received, theirs.quality.expected, theirs.quality.jitter
            )  # fmt: skip


def test_the_data_plane_in_c_holds_under_the_address_and_undefined_behaviour_sanitizers(tmp_path):
    """A minute's worth of random events in some seconds, in a program of its own: ``plane_fuzz.c``."""
    program = tmp_path / "fuzz"
    flags = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{ROOT / 'media'}")
    why_not = compile_plane(ROOT / "tests/fuzz/plane_fuzz.c", program, *flags)
    if why_not is not None:
        pytest.skip(f"no sanitizers here: {why_not}")
    done = subprocess.run([program, "3"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "events" in done.stdout


def test_a_library_of_another_version_is_not_used(tmp_path):
    source = (ROOT / "media/_plane.c").read_text().replace("#define VERSION 1 ", "#define VERSION 2 ")
    (tmp_path / "_plane.c").write_text(source)
    assert compile_plane(tmp_path / "_plane.c", tmp_path / "_plane.so") is None
    with pytest.raises(OSError, match="another version"):
        load(tmp_path / "_plane.so")


def test_without_a_compiler_it_says_so_and_with_a_broken_one_too(tmp_path, monkeypatch):
    source = ROOT / "media/_plane.c"
    monkeypatch.setenv("CC", "false")
    assert compile_plane(source, tmp_path / "x.so") == "false failed: 1"
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compile_plane(source, tmp_path / "x.so") == "there is no C compiler"
    assert not (tmp_path / "x.so").exists()
