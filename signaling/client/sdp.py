"""What is read and changed in session descriptions (RFC 8866, RFC 8839): ICE lines and addresses. Pure."""

import re
from collections.abc import Sequence

from msgspec import Struct


class Ice(Struct, frozen=True):
    """ICE parameters of one side; ``candidates`` as in ``candidate:…``, without ``a=``."""

    ufrag: str
    pwd: str
    candidates: tuple[str, ...] = ()
    lite: bool = False


def ice_of(sdp: str) -> Ice:
    """The first credentials (everything is bundled), and all candidates. Raises ``ValueError`` when there are no credentials."""
    ufrag = re.search(r"^a=ice-ufrag:(\S+)", sdp, re.MULTILINE)
    pwd = re.search(r"^a=ice-pwd:(\S+)", sdp, re.MULTILINE)
    if ufrag is None or pwd is None:
        raise ValueError("a description without ICE credentials")
    candidates = tuple(match[1].strip() for match in re.finditer(r"^a=(candidate:[^\r\n]+)", sdp, re.MULTILINE))
    return Ice(ufrag[1], pwd[1], candidates, re.search(r"^a=ice-lite\s*$", sdp, re.MULTILINE) is not None)


def trickling(sdp: str) -> str:
    """The description with ``a=ice-options:trickle`` (RFC 8840). Without it, Firefox takes a description without candidates for a failure at
    once; it looks for it at the session only.
    """
    if re.search(r"^a=ice-options:", sdp, re.MULTILINE):
        return sdp
    return re.sub(r"^(t=[^\r\n]*)\r?\n", "\\1\r\na=ice-options:trickle\r\n", sdp, count=1, flags=re.MULTILINE)


def with_ice(sdp: str, ice: Ice, *, version: int = 0) -> str:
    """The description with other ICE parameters, as after a restart (RFC 8445, section 9); ``version`` is added to that of the session."""
    lines = []
    for line in without_addresses(sdp).splitlines():
        if line.startswith("a=ice-ufrag:"):
            lines.append(f"a=ice-ufrag:{ice.ufrag}")
        elif line.startswith("a=ice-pwd:"):
            lines += [f"a=ice-pwd:{ice.pwd}", *(f"a={candidate}" for candidate in ice.candidates)]
            if ice.candidates:
                lines.append("a=end-of-candidates")
        elif version and (origin := re.fullmatch(r"(o=\S+ \S+ )(\d+)( .*)", line)):
            lines.append(f"{origin[1]}{int(origin[2]) + version}{origin[3]}")
        else:
            lines.append(line)
    return _joined(lines)


def without_addresses(sdp: str) -> str:
    """The description without any address: no candidates, no connection data."""
    lines = []
    for line in sdp.splitlines():
        if re.match(r"a=(?:candidate|end-of-candidates|remote-candidates)", line):
            continue
        if line.startswith("c="):
            lines.append("c=IN IP4 0.0.0.0")
        elif line.startswith("a=rtcp:"):
            lines.append("a=rtcp:9 IN IP4 0.0.0.0")
        elif line.startswith("o="):
            lines.append(re.sub(r" IN IP[46] \S+$", " IN IP4 0.0.0.0", line))
        else:
            lines.append(re.sub(r"^(m=\S+) \d+ ", r"\1 9 ", line))
    return _joined(lines)


def relayed_only(candidates: Sequence[str]) -> tuple[str, ...]:
    """Candidates of TURN servers, without the address that the server saw (RFC 8839, section 5.1: raddr)."""
    relayed = (c for c in candidates if re.search(r" typ relay( |$)", c))
    return tuple(re.sub(r" rport \d+", " rport 9", re.sub(r" raddr \S+", " raddr 0.0.0.0", c)) for c in relayed)


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\r\n" for line in lines if line)
