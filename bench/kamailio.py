"""The peer of the set-up benchmark: Kamailio as registrar and stateful proxy, driven by sipp over UDP on loopback."""

import csv
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from bench.processes import cpu_seconds, family, free_port, running, say

CONFIG: Final = """
debug=0
log_stderror=yes
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:127.0.0.1:{port}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
{modules}modparam("usrloc", "db_mode", 0)
modparam("registrar", "max_expires", 3600)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
        sl_send_reply("404", "Not here"); exit;
    }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    t_check_trans();
    if (is_method("REGISTER")) {{ if (!save("location")) {{ sl_reply_error(); }} exit; }}
    {authenticate}record_route();
    if (!lookup("location")) {{ sl_send_reply("404", "Not Found"); exit; }}
    if (!t_relay()) {{ sl_reply_error(); }}
}}
"""
"""No authentication, no policy, nothing stored beyond memory: what the peer leaves out, it does not pay for."""

_DIGEST: Final = {
    "modules": 'loadmodule "auth.so"\n',
    "authenticate": 'if (is_method("INVITE")) {{ if (!pv_auth_check("$fd", "secret", "0", "0")) {{ auth_challenge("$fd", "0"); exit; }}'
    " consume_credentials(); }}\n    ".replace("{{", "{").replace("}}", "}"),
}
"""With RFC 3261's authentication of each call (section 22): every INVITE is challenged and sent again."""

SDP: Final = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio 40000 UDP/TLS/RTP/SAVPF 111
a=rtpmap:111 opus/48000/2
a=setup:actpass
a=mid:0
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx"""

_HEAD: Final = """Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
      From: <sip:load@127.0.0.1>;tag=[pid]c[call_number]
      Max-Forwards: 70
      Call-ID: [call_id]"""

_ESTABLISHED: Final = f"""
  <recv response="180" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
      ACK [next_url] SIP/2.0
      {_HEAD}
      [routes]
      To: <sip:[field0]@127.0.0.1>[peer_tag_param]
      CSeq: 1 ACK
      Content-Length: 0

  ]]></send>
  <pause milliseconds="100"/>
  <send retrans="500"><![CDATA[
      BYE [next_url] SIP/2.0
      {_HEAD}
      [routes]
      To: <sip:[field0]@127.0.0.1>[peer_tag_param]
      CSeq: 2 BYE
      Content-Length: 0

  ]]></send>
  <recv response="200"/>
</scenario>
"""

_INVITE: Final = f"""
  <send retrans="500"><![CDATA[
      INVITE sip:[field0]@127.0.0.1 SIP/2.0
      {_HEAD}
      To: <sip:[field0]@127.0.0.1>
      CSeq: @CSEQ@ INVITE
      Contact: <sip:load@[local_ip]:[local_port]>@AUTH@
      Content-Type: application/sdp
      Content-Length: [len]

      {SDP.replace(chr(10), chr(10) + "      ")}
  ]]></send>
  <recv response="100" optional="true"/>"""

_CHALLENGED: Final = f"""
  <recv response="407" auth="true"/>
  <send><![CDATA[
      ACK sip:[field0]@127.0.0.1 SIP/2.0
      {_HEAD.replace("[branch]", "[branch-3]")}
      To: <sip:[field0]@127.0.0.1>[peer_tag_param]
      CSeq: 1 ACK
      Content-Length: 0

  ]]></send>"""


def _caller(*, digest: bool) -> str:
    """The caller's scenario."""
    first = _INVITE.replace("@CSEQ@", "1").replace("@AUTH@", "")
    again = _INVITE.replace("@CSEQ@", "2").replace("@AUTH@", "\n      [authentication username=load password=secret]")
    rest = _ESTABLISHED if not digest else _ESTABLISHED.replace("CSeq: 2 BYE", "CSeq: 3 BYE").replace("CSeq: 1 ACK", "CSeq: 2 ACK")
    invites = first + _CHALLENGED + again if digest else first
    return f'<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="caller">{invites}{rest}'


_ANSWER: Final = """[last_Via:]
      [last_From:]
      [last_To:]{tag}
      [last_Call-ID:]
      [last_CSeq:]
      [last_Record-Route:]
      Contact: <sip:callee@[local_ip]:[local_port]>"""
_TAGGED: Final = _ANSWER.format(tag=";tag=[pid]s[call_number]")

CALLEE: Final = f"""<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="callee">
  <recv request="INVITE"/>
  <send><![CDATA[
      SIP/2.0 180 Ringing
      {_TAGGED}
      Content-Length: 0

  ]]></send>
  <send retrans="500"><![CDATA[
      SIP/2.0 200 OK
      {_TAGGED}
      Content-Type: application/sdp
      Content-Length: [len]

      {SDP.replace(chr(10), chr(10) + "      ")}
  ]]></send>
  <recv request="ACK"/>
  <recv request="BYE"/>
  <send><![CDATA[
      SIP/2.0 200 OK
      {_ANSWER.format(tag="")}
      Content-Length: 0

  ]]></send>
</scenario>
"""


def _register(port: int, callee_port: int, users: int) -> None:
    """REGISTER every user at the callee's address. Raises ``RuntimeError`` when the registrar does not say 200."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind(("127.0.0.1", 0))
        wire.settimeout(1)
        own = wire.getsockname()[1]
        for user in range(users):
            request = (
                f"REGISTER sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKr{user}\r\n"
                f"From: <sip:u{user}@127.0.0.1>;tag=r{user}\r\nTo: <sip:u{user}@127.0.0.1>\r\nCall-ID: r{user}\r\n"
                f"CSeq: 1 REGISTER\r\nContact: <sip:u{user}@127.0.0.1:{callee_port}>\r\nExpires: 3600\r\n"
                "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            ).encode()
            for _attempt in range(10):
                wire.sendto(request, ("127.0.0.1", port))
                try:
                    answer = wire.recv(65535)
                except OSError:  # nothing yet, or Kamailio does not listen yet
                    time.sleep(0.2)
                    continue
                if answer.startswith(b"SIP/2.0 200"):
                    break
                raise RuntimeError(f"REGISTER was answered {answer[:60]!r}")
            else:
                raise RuntimeError("REGISTER was not answered")


def _measure(folder: Path, *, calls: int, rate: int, users: int = 500, digest: bool = False) -> dict[str, Any]:
    """CPU per set-up of Kamailio, in milliseconds, over ``calls`` calls offered at ``rate`` a second.

    Raises:
        RuntimeError: Kamailio or sipp is missing, does not start, or calls failed.
    """
    kamailio, sipp = shutil.which("kamailio", path=os.environ["PATH"] + ":/usr/sbin"), shutil.which("sipp")
    if kamailio is None or sipp is None:
        raise RuntimeError("the peer needs Debian's packages kamailio and sip-tester")
    port, caller_port, callee_port = (free_port(socket.SOCK_DGRAM) for _ in range(3))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kamailio.cfg").write_text(CONFIG.format(port=port, **(_DIGEST if digest else {"modules": "", "authenticate": ""})))
    (folder / "caller.xml").write_text(_caller(digest=digest))
    (folder / "callee.xml").write_text(CALLEE)
    with (folder / "users.csv").open("w", newline="") as output:
        output.write("SEQUENTIAL\n")
        csv.writer(output, delimiter=";", lineterminator="\n").writerows([f"u{user}"] for user in range(users))
    log, callee_log = folder / "kamailio.log", folder / "callee.log"
    server = [
        kamailio,
        "-DD",
        "-E",
        "-f",
        str(folder / "kamailio.cfg"),
        "-Y",
        str(folder),
        "-m",
        "512",
        "-M",
        "32",
        "-x",
        "fm",
        "-X",
        "fm",
    ]
    callee = [sipp, "-sf", str(folder / "callee.xml"), "-i", "127.0.0.1", "-p", str(callee_port), "-nostdin"]
    caller = [
        sipp, f"127.0.0.1:{port}", "-sf", str(folder / "caller.xml"), "-inf", str(folder / "users.csv"),
        "-i", "127.0.0.1", "-p", str(caller_port), "-r", str(rate), "-m", str(calls), "-l", "2000", "-nostdin", "-timeout", "120s",
    ]  # fmt: skip
    with running(server, log, cores={0}) as process, running(callee, callee_log):
        try:
            _register(port, callee_port, users)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from error
        pids = family(process.pid)
        say(f"kamailio: {users} users registered, {len(pids)} processes; {calls} calls at {rate}/s")
        before, begin = cpu_seconds(pids), time.monotonic()
        outcome = subprocess.run(caller, stdin=subprocess.DEVNULL, capture_output=True, cwd=folder, check=False)
        seconds, used = time.monotonic() - begin, cpu_seconds(pids) - before
    if outcome.returncode != 0:
        raise RuntimeError(
            f"sipp ended with {outcome.returncode}: {(outcome.stdout + outcome.stderr)[-1500:].decode(errors='replace')}"
        )
    return {
        "cpu_ms": round(used / calls * 1000, 4),
        "setups_per_core_s": round(calls / used) if used else None,
        "calls": calls,
        "seconds": round(seconds, 2),
        "cpu_s": round(used, 2),
        "processes": len(pids),
    }


def measure(folder: Path, *, calls: int, rate: int, digest: bool = False) -> dict[str, Any]:
    """As ``_measure``; when calls fail, because the machine has other work to do and UDP loses what waits, again at half the rate: lost
    messages are sent again, which would make the peer dearer than it is.

    Raises:
        RuntimeError: as ``_measure``, at every rate tried.
    """
    for offered in (rate, rate // 2):
        try:
            return _measure(folder, calls=calls, rate=max(1, offered), digest=digest)
        except RuntimeError as error:
            say(f"kamailio: calls failed at {offered}/s ({str(error).splitlines()[0]})")
    return _measure(folder, calls=calls, rate=max(1, rate // 4), digest=digest)
