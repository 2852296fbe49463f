"""OPRF against the vectors of RFC 9497, appendix A.1.1, and its algebra."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.contacts import oprf

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "oprf.json").read_text())
KEY = bytes.fromhex(VECTORS["key"])


def test_the_key_is_derived_as_in_the_rfc():
    assert oprf.derive_key(bytes.fromhex(VECTORS["seed"]), bytes.fromhex(VECTORS["info"])) == KEY


@pytest.mark.parametrize("vector", VECTORS["vectors"])
def test_the_outputs_are_those_of_the_rfc(vector):
    message = bytes.fromhex(vector["input"])
    scalar, blinded = oprf.blind_with_scalar(message, bytes.fromhex(vector["blind"]))
    evaluated = oprf.blind_evaluate(KEY, blinded)
    assert oprf.finalize(message, scalar, evaluated).hex() == vector["output"]
    assert oprf.evaluate(KEY, message).hex() == vector["output"]


@given(st.binary(max_size=64), st.binary(min_size=64, max_size=64).filter(lambda b: int.from_bytes(b, "little") % oprf.ORDER))
def test_any_blind_gives_the_same_output(message, uniform):
    scalar, blinded = oprf.blind(message, uniform)
    assert oprf.finalize(message, scalar, oprf.blind_evaluate(KEY, blinded)) == oprf.evaluate(KEY, message)


@given(st.binary(max_size=40))
def test_bytes_that_are_no_element_are_refused(data):
    try:
        oprf.blind_evaluate(KEY, data)
    except oprf.InvalidElement:
        return
    assert len(data) == 32


def test_the_identity_is_refused():
    with pytest.raises(oprf.InvalidElement):
        oprf.blind_evaluate(KEY, bytes(32))
    with pytest.raises(oprf.InvalidElement):
        oprf.finalize(b"x", KEY, bytes(32))


def test_loading_libsodium_needs_no_program_in_the_temporary_folder_and_leaves_nothing_there(tmp_path):
    script = (
        "import tempfile; before = tempfile.NamedTemporaryFile\n"
        "from signaling.contacts import oprf\n"
        "assert tempfile.NamedTemporaryFile is before\n"
        f"assert oprf.derive_key(bytes.fromhex({VECTORS['seed']!r}), bytes.fromhex({VECTORS['info']!r})).hex() == {VECTORS['key']!r}\n"
        "print(len(oprf.evaluate(oprf.derive_key(bytes(32), b''), b'x')))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
