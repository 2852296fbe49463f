"""What a client believes (P10). Identity keys are pinned at first sight, every certificate must lead to its pin, every payload must be
signed by the device that the call is with, and no payload counts twice. What does not fit becomes a notice. No I/O.
"""

import hashlib
from collections.abc import Callable, Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from signaling.accounts.certificates import CertificateInvalid, verify_chain
from signaling.client.keys import DeviceKeys
from signaling.client.sealing import Content, Route, SealError, seal, unseal
from signaling.wire.certificate import DeviceCertificate


class Notice(StrEnum):
    """Kinds of security notices, the same in every client."""

    SIGNATURE_INVALID = "signature_invalid"
    CANNOT_OPEN = "cannot_open"
    REPLAYED = "replayed"
    CERTIFICATE_INVALID = "certificate_invalid"
    IDENTITY_CHANGED = "identity_changed"
    GHOST_DEVICE = "ghost_device"
    WRONG_SENDER = "wrong_sender"
    FINGERPRINT_MISMATCH = "fingerprint_mismatch"


class SecurityNotice(Struct, frozen=True):
    """Something that only a fault or an attack explains: the user must see it."""

    kind: Notice
    account: str | None = None
    device: str | None = None
    call: str | None = None


class Verdict(StrEnum):
    """What to make of the certificates that the hub shows for an account."""

    TRUSTED = "trusted"
    CHANGED = "changed"
    """They lead to another identity key than the pinned one: the user decides."""
    REFUSED = "refused"
    """At least one cannot be trusted: nothing may be sealed for this set."""


class Pin(Struct, frozen=True):
    """The identity key of another account, as first seen or as accepted since."""

    identity_key: str
    verified: bool = False
    changed_to: str | None = None


class Security:
    """Pins, numbers and replays of one device.

    Args:
        pins: by account; changed in place, kept by the caller.
        notify: told of every notice.
    """

    def __init__(self, pins: dict[str, Pin], notify: Callable[[SecurityNotice], None]) -> None:
        self.pins = pins
        self.notify = notify
        self._seen: dict[tuple[str, str], dict[int, bytes]] = {}
        self._next: dict[tuple[str, str], int] = {}

    def judge(self, account: str, certificates: Sequence[DeviceCertificate], call: str | None = None) -> Verdict:
        """Look at every certificate shown for an account; all of them must lead to one identity key, the pinned one."""
        pin = self.pins.get(account)
        refused = False
        keys: set[str] = set()
        for certificate in certificates:
            try:
                if certificate.account != account:
                    raise CertificateInvalid("for another account")
                verify_chain(certificate)
                keys.add(certificate.identity_key)
            except CertificateInvalid:
                refused = True
                known = pin is not None and certificate.identity_key == pin.identity_key
                kind = Notice.GHOST_DEVICE if known else Notice.CERTIFICATE_INVALID
                self.notify(SecurityNotice(kind, account, certificate.device, call))
        if len(keys) > 1:
            # an account has one identity key: whoever shows two has made one of them up
            refused = True
            for certificate in certificates:
                if pin is None or certificate.identity_key != pin.identity_key:
                    self.notify(SecurityNotice(Notice.GHOST_DEVICE, account, certificate.device, call))
        if refused:
            return Verdict.REFUSED
        if not keys:
            return Verdict.TRUSTED
        (key,) = keys
        if pin is None or pin.identity_key == key:
            self.pins[account] = Pin(key) if pin is None else replace(pin, changed_to=None)
            return Verdict.TRUSTED
        if pin.changed_to != key:
            self.pins[account] = replace(pin, changed_to=key)
            self.notify(SecurityNotice(Notice.IDENTITY_CHANGED, account, None, call))
        return Verdict.CHANGED

    def forget(self, account: str) -> None:
        """Forget an account's identity key, for who keeps nothing of callers."""
        self.pins.pop(account, None)

    def accept_change(self, account: str) -> None:
        """The user accepts the new identity key of an account."""
        pin = self.pins.get(account)
        if pin is not None and pin.changed_to is not None:
            self.pins[account] = Pin(pin.changed_to)

    def seal(self, call: str, sender: str, keys: DeviceKeys, to: DeviceCertificate, kind: str, body: dict[str, object]) -> str:
        """Seal for one device, with the next number for it in this call."""
        n = self._next.get((call, to.device), 0)
        self._next[call, to.device] = n + 1
        return seal(Route(call, sender, to.device), Content(kind, n, dict(body)), keys.signing, to.leaf.sealing_key)

    def open(
        self, call: str, sender: DeviceCertificate, receiver: str, keys: DeviceKeys, sealed: str, *, again: bool = False
    ) -> Content | None:
        """Open what a trusted device sealed for this one. None: not to be applied, and the reason is a notice already.

        ``again``: it came by ``sync``, where what was seen before is normal, if it is the very same.
        """
        try:
            content = unseal(Route(call, sender.device, receiver), sealed, keys.sealing, sender.leaf.signing_key)
        except SealError as error:
            self.notify(SecurityNotice(Notice(error.reason), sender.account, sender.device, call))
            return None
        digest = hashlib.sha256(sealed.encode()).digest()
        seen = self._seen.setdefault((call, sender.device), {})
        before = seen.get(content.n)
        if before is not None:
            if not again or before != digest:
                self.notify(SecurityNotice(Notice.REPLAYED, sender.account, sender.device, call))
            return None
        seen[content.n] = digest
        return content

    def resume(self, call: str, to: str, first: int) -> None:
        """Take up a call that this device may have been in before: ``first`` is a number that it cannot have used for ``to`` then."""
        self._next[call, to] = max(first, self._next.get((call, to), 0))

    def end_call(self, call: str) -> None:
        """Forget the numbers of a call that is over."""
        self._seen = {key: value for key, value in self._seen.items() if key[0] != call}
        self._next = {key: value for key, value in self._next.items() if key[0] != call}
