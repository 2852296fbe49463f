"""Calls as devices may see them: messages and views out of the state."""

from collections.abc import Sequence

from msgspec import UNSET

from signaling.calls.history import Line
from signaling.calls.machine import Call
from signaling.calls.store import CertificateRecord, Record
from signaling.wire.certificate import DeviceCertificate
from signaling.wire.errors import Refused
from signaling.wire.messages import CallElsewhere, CallView, Error, Peer, SealedFrom, Stage


def peer_of(call: Call, device: str, certificate: DeviceCertificate | None) -> Peer:
    """The other side, as a device may see it. ``certificate`` is that of the other device, if it is known."""
    shown = UNSET if certificate is None else certificate
    if device != call.caller_device:
        return Peer(
            account=call.caller,
            device=call.caller_device,
            phone=call.caller_phone or UNSET,
            certificate=shown,
            business=call.caller_business,
        )
    if call.callee_device is None:
        return Peer(account=call.callee)
    return Peer(account=call.callee, device=call.callee_device, certificate=shown)


def expires_in(call: Call, now: float) -> float:
    """Seconds until the deadline of the stage; 0 when it has none."""
    return 0.0 if call.deadline is None else max(0.0, call.deadline - now)


def involves(call: Call, device: str) -> bool:
    """Whether a call is, or is still offered to, a device."""
    if device == call.caller_device:
        return True
    return device in call.devices if call.callee_device is None else device == call.callee_device


def call_view(call: Call, device: str, records: Sequence[Record], now: float) -> CallView | None:
    """One call in ``sync``; None when it is not this device's, or past its time: it must not ring again."""
    if not involves(call, device) or (call.deadline is not None and call.deadline <= now):
        return None
    other = call.other(device)
    certificate = next((r.certificate for r in records if isinstance(r, CertificateRecord) and r.certificate.device == other), None)
    # once the call is taken, what a device sealed that is not in it, or not any more, is of no use
    payloads = [
        SealedFrom(record.sender, record.payload)
        for record in records
        if not isinstance(record, CertificateRecord) and record.receiver == device and other in (None, record.sender)
    ]
    return CallView(
        call=call.id,
        seq=call.seq,
        stage=call.stage,
        outgoing=device == call.caller_device,
        peer=peer_of(call, device, certificate),
        expires_in=expires_in(call, now),
        payloads=payloads,
    )


def elsewhere(call: Call, account: str, now: float) -> CallElsewhere | None:
    """A call as the account's devices that are not in it may see it; None when there is nothing to take over."""
    device = call.device_of(account)
    if call.stage is not Stage.CONNECTED or device is None or call.connected_at is None:
        return None
    return CallElsewhere(
        call=call.id,
        seq=call.seq,
        device=device,
        outgoing=account == call.caller,
        peer=peer_of(call, device, None),
        connected_for=max(0.0, now - call.connected_at),
    )


def refusal(request: int, refused: Refused) -> Error:
    """A refusal as the answer to a request."""
    return Error(
        code=refused.code,
        message=refused.message,
        re=request,
        retry_after=UNSET if refused.retry_after is None else refused.retry_after,
        devices=UNSET if refused.devices is None else refused.devices,
    )


def history_lines(call: Call) -> list[Line]:
    """The history lines of an ended call: the caller's, and the callee's if it was told of the call."""
    if call.reason is None or call.ended_at is None:
        return []
    started, ended = int(call.created_at * 1000), int(call.ended_at * 1000)
    connected = None if call.connected_at is None else int(call.connected_at * 1000)
    lines = [Line(call.caller, call.id, call.callee, True, call.reason, started, connected, ended)]
    if call.silenced or not call.hidden:
        lines.append(Line(call.callee, call.id, call.caller, False, call.reason, started, connected, ended))
    return lines
