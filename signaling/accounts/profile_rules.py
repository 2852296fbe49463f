"""Rules of profiles as plain functions: what a text may be, and how coarse an address is kept. No I/O."""

import unicodedata
from ipaddress import ip_address, ip_network
from typing import Final

import phonenumbers

_JOINERS: Final = "\u200c\u200d"
"""Zero-width (non-)joiner: part of words and of emoji."""


def clean(text: str) -> str:
    """A text of one line as it is kept: NFC, white space collapsed, without control and direction-changing characters."""
    kept = (" " if c.isspace() else c for c in unicodedata.normalize("NFC", text))
    # Cc: control, Cf: invisible format characters, Co/Cs: private use and surrogates. They can make a name look like another, or break a line
    shown = "".join(c for c in kept if c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs"))
    return " ".join(shown.split())


def network_of(address: str) -> str:
    """The network that an IP address is kept as: IPv4 /24, IPv6 /48; empty for what is no address."""
    try:
        ip = ip_address(address.split("/")[0])
    except ValueError:
        return ""
    mapped = getattr(ip, "ipv4_mapped", None)
    if mapped is not None:
        ip = mapped
    return str(ip_network((ip, 24 if ip.version == 4 else 48), strict=False))


def country_of(e164: str) -> str:
    """The country of a number (ISO 3166-1 alpha-2) by its prefix; empty when it belongs to none (P19), or is none, as a service's."""
    try:
        code = phonenumbers.region_code_for_number(phonenumbers.parse(e164, None)) or ""
    except phonenumbers.NumberParseException:
        return ""
    return code if code.isalpha() else ""  # 001: a number of the whole world
