"""Fills ``Settings``: defaults, then a TOML file, then the environment. Every mistake is named with its setting."""

import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from media.options import parse_address, parse_ports, parse_tcp_port
from signaling.operators.roles import parse_role
from signaling.plans.payments import StandardWebhooks
from signaling.plans.rules import parse_product
from signaling.settings import Settings
from turn_config.urls import parse_url

PREFIX: Final = "KLOUDTALK_"


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and says what is wrong. Never holds the value: it may be a secret."""


def names() -> list[str]:
    """Names of all settings."""
    return [f.name for f in msgspec.structs.fields(Settings)]


def load_settings(environment: Mapping[str, str] = os.environ, file: Path | None = None) -> Settings:
    """Settings in force. Raises ``SettingsError``.

    Args:
        environment: ``KLOUDTALK_NAME`` for each setting; lists are separated by commas.
        file: a TOML file with the settings' names as keys; default: ``KLOUDTALK_CONFIG``, if set.
    """
    values: dict[str, Any] = {}
    chosen = file or (Path(environment[f"{PREFIX}CONFIG"]) if environment.get(f"{PREFIX}CONFIG") else None)
    if chosen is not None:
        try:
            values.update(tomllib.loads(chosen.read_text(encoding="utf-8")))
        except OSError as error:
            raise SettingsError(f"{chosen}: cannot be read ({error.strerror})") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{chosen}: not TOML: {error}") from None
        unknown = sorted(set(values) - set(names()))
        if unknown:
            raise SettingsError(f"{chosen}: no such setting: {', '.join(unknown)}")
    hints = typing.get_type_hints(Settings)
    known = {f"{PREFIX}{name.upper()}": name for name in names()}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable in (f"{PREFIX}CONFIG", f"{PREFIX}ADMIN_TOKEN"):
            continue
        if variable not in known:
            raise SettingsError(f"{variable}: no such setting")
        name = known[variable]
        if text == "" and _optional(hints[name]):
            values[name] = None
        else:
            is_list = typing.get_origin(hints[name]) is tuple
            values[name] = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
    for name, value in values.items():
        try:
            msgspec.convert(value, hints_with_meta()[name], strict=False, dec_hook=_decode_path)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{name}: {_without_values(error)}") from None
    settings = msgspec.convert(values, Settings, strict=False, dec_hook=_decode_path)
    check(settings)
    return settings


def check(settings: Settings) -> None:
    """What no single setting shows. Raises ``SettingsError``."""
    if settings.keyholder_secret is not None and len(settings.keyholder_secret) < 32:
        raise SettingsError("keyholder_secret: needs 32 characters or more")
    if settings.turn_urls and not settings.turn_secret:
        raise SettingsError("turn_secret: needed with turn_urls")
    for name, schemes in (("stun_urls", ("stun",)), ("turn_urls", ("turn", "turns"))):
        for url in getattr(settings, name):
            try:
                if parse_url(url).scheme not in schemes:
                    raise ValueError(f"a URL does not start with {' or '.join(f'{scheme}:' for scheme in schemes)}")
            except ValueError as error:
                raise SettingsError(f"{name}: {error}") from None
    if settings.turn_region is not None and settings.turn_region not in {
        parse_url(url).region for url in (*settings.stun_urls, *settings.turn_urls)
    }:
        raise SettingsError("turn_region: no server in stun_urls or turn_urls is of this region")
    for name in ("turn_secret", "turn_previous_secret", "echo_secret"):
        if getattr(settings, name) is not None and len(getattr(settings, name)) < 32:
            raise SettingsError(f"{name}: needs 32 characters or more")
    if settings.phone_delivery == "http" and not settings.sms_url:
        raise SettingsError("sms_url: needed with phone_delivery = http")
    if settings.email_delivery == "smtp" and not (settings.smtp_host and settings.smtp_from):
        raise SettingsError("smtp_host and smtp_from: needed with email_delivery = smtp")
    for origin in settings.origins:
        if not origin.startswith(("https://", "http://")) or origin.endswith("/"):
            raise SettingsError("origins: an origin is scheme://host[:port], without a path")
    try:
        for address in settings.relay_addresses:
            parse_address(address)
    except ValueError as error:
        raise SettingsError(f"relay_addresses: {error}") from None
    try:
        parse_ports(settings.relay_ports)
    except ValueError as error:
        raise SettingsError(f"relay_ports: {error}") from None
    try:
        parse_tcp_port(settings.relay_tcp_port)
    except ValueError as error:
        raise SettingsError(f"relay_tcp_port: {error}") from None
    for product in settings.products:
        try:
            parse_product(product)
        except ValueError as error:
            raise SettingsError(f"products: {error}") from None
    if settings.products and not (settings.payment_checkout_url and settings.payment_secret):
        raise SettingsError("payment_checkout_url and payment_secret: needed with products")
    if settings.payment_secret is not None:
        try:
            StandardWebhooks(checkout="", secret=settings.payment_secret)
        except ValueError as error:
            raise SettingsError(str(error)) from None
    _check_oidc(settings)
    url = settings.database_url
    if url is not None and not url.startswith(("sqlite+aiosqlite:", "postgresql+asyncpg:")):
        raise SettingsError("database_url: starts with sqlite+aiosqlite: or postgresql+asyncpg:")
    if settings.echo_hub_url is not None and not settings.echo_hub_url.startswith(("http://", "https://")):
        raise SettingsError("echo_hub_url: starts with https:// or http://")
    if settings.otlp_endpoint is not None and not settings.otlp_endpoint.startswith(("http://", "https://")):
        raise SettingsError("otlp_endpoint: starts with http:// or https://")
    if settings.keyholder_url is not None and not settings.keyholder_url.startswith(("unix:", "http://")):
        raise SettingsError("keyholder_url: starts with unix: or http://")


def _check_oidc(settings: Settings) -> None:
    if settings.admin_url is not None and not re.fullmatch(r"https?://[^/\s]+", settings.admin_url):
        raise SettingsError("admin_url: is https://HOST, without a path")
    try:
        for text in settings.oidc_roles:
            parse_role(text)
    except ValueError as error:
        raise SettingsError(f"oidc_roles: {error}") from None
    if settings.oidc_issuer is None:
        return
    if not settings.oidc_issuer.startswith(("https://", "http://localhost", "http://127.0.0.1", "http://[::1]")):
        raise SettingsError("oidc_issuer: starts with https://")
    if settings.admin_url is None or settings.oidc_client_id is None or not settings.oidc_roles:
        raise SettingsError("admin_url, oidc_client_id and oidc_roles: needed with oidc_issuer")


def to_environment(settings: Settings) -> dict[str, str]:
    """The environment that gives these settings again: how ``serve`` hands them to its children."""
    defaults = Settings()
    result: dict[str, str] = {}
    for name in names():
        value = getattr(settings, name)
        if value == getattr(defaults, name):
            continue
        result[f"{PREFIX}{name.upper()}"] = "" if value is None else ",".join(value) if isinstance(value, tuple) else str(value)
    return result


def table() -> str:
    """``docs/settings.md``."""
    lines = [
        "# Settings",
        "",
        "Generated by `python -m signaling.settings_loader`. None is needed. Each can stand in a TOML file (`kloudtalk serve --config",
        "FILE`, or `KLOUDTALK_CONFIG`) under its name, and in the environment under its variable, which wins. Lists in the environment",
        "are separated by commas. `kloudtalk check` validates them and reaches every store.",
        "",
        "| Setting | Variable | Default | Meaning |",
        "|---|---|---|---|",
    ]
    hints = hints_with_meta()
    for f in msgspec.structs.fields(Settings):
        default = f.default
        shown = "" if default is None or default == () else f"`{','.join(default) if isinstance(default, tuple) else default}`"
        lines.append(f"| `{f.name}` | `{PREFIX}{f.name.upper()}` | {shown} | {_description(hints[f.name])} |")
    return "\n".join(lines) + "\n"


def hints_with_meta() -> dict[str, Any]:
    """The settings' types with their bounds and descriptions."""
    return typing.get_type_hints(Settings, include_extras=True)


def _description(hint: Any) -> str:
    text = next((m.description for m in getattr(hint, "__metadata__", ()) if isinstance(m, msgspec.Meta) and m.description), "")
    bare = typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    choices = typing.get_args(bare) if typing.get_origin(bare) is typing.Literal else ()
    return f"{text} {', '.join(f'`{choice}`' for choice in choices[:-1])} or `{choices[-1]}`." if choices else text


def _optional(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)


def _decode_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError


def _without_values(error: msgspec.ValidationError) -> str:
    text = str(error)
    return "a value that is not allowed" if "Invalid enum value" in text or "Invalid value" in text else text


if __name__ == "__main__":
    print(table(), end="")
