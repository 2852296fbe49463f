"""``kloudtalk turn-config``: the settings and options, to a ``turnserver.conf`` for coturn."""

import argparse
import os
import secrets
import sys
from pathlib import Path

from media.options import parse_ports
from media.process import machine_addresses
from signaling.settings import Settings
from turn_config.coturn import coturn_configuration


def write_turn_config(settings: Settings, options: argparse.Namespace) -> int:
    """Write the file, or print it; the exit status: 0 written, 1 it could not be written, 2 an option that cannot be used."""
    secret = settings.turn_secret or secrets.token_urlsafe(32)
    try:
        text = coturn_configuration(
            secret=secret,
            previous_secret=settings.turn_previous_secret,
            realm=options.realm,
            listening=options.listening or machine_addresses(),
            external=options.external,
            port=options.turn_port,
            tls_port=options.tls_port,
            more_ports=[443] if options.also_443 else [],
            certificate=options.certificate,
            private_key=options.private_key,
            relay_ports=parse_ports(options.relay_ports),
            user_quota=options.user_quota,
            total_quota=options.total_quota,
            max_bps=options.max_bps,
        )
    except ValueError as error:
        print(f"kloudtalk: {error}", file=sys.stderr)
        return 2
    if options.output is None:
        print(text, end="")
    else:
        try:
            _write(options.output, text)
        except OSError as error:
            print(f"kloudtalk: {options.output}: {error.strerror}", file=sys.stderr)
            return 1
    if settings.turn_secret is None:
        print(_advice(options, secret), file=sys.stderr)
    return 0


def _write(path: Path, text: str) -> None:
    """Write a file that holds a secret: nobody else can read it at any moment, and it is there whole or not at all."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _advice(options: argparse.Namespace, secret: str) -> str:
    """The hub's settings for this server."""
    host = options.realm
    urls = [f"turn:{host}:{options.turn_port}?transport=udp", f"turn:{host}:{options.turn_port}?transport=tcp"]
    if options.certificate:
        urls.append(f"turns:{host}:{options.tls_port}?transport=tcp")
        urls += [f"turns:{host}:443?transport=tcp"] if options.also_443 else []
    listed = ", ".join(f'"{url}"' for url in urls)
    return f"""The hub needs these settings, then `kloudtalk check` tries the server:
stun_urls = ["stun:{host}:{options.turn_port}"]
turn_urls = [{listed}]
turn_secret = "{secret}\""""
