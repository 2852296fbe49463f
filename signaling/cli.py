"""The command ``kloudtalk``."""

import argparse
import asyncio
import sys
from pathlib import Path

import uvloop
from msgspec.structs import replace

import signaling
from signaling.settings import Settings
from signaling.settings_loader import SettingsError, load_settings
from signaling.telemetry.logs import configure as configure_logs

MOVED = ("operator", "request", "ticket", "announcement")
"""Commands of old, which are below ``admin`` now."""


def parser(*, admin: bool = True) -> argparse.ArgumentParser:
    """Commands and options. ``admin``: with those of ``admin``; a service that starts does not wait until they are read, and an HTTP client."""
    top = argparse.ArgumentParser(
        prog="kloudtalk",
        description="Voice calls that the server cannot listen to.",
        epilog="Every setting can come from the environment (KLOUDTALK_NAME) or a TOML file; docs/settings.md lists them.",
    )
    top.add_argument("--version", action="version", version=f"kloudtalk {signaling.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary, detail in (
        (
            "serve",
            "run the whole service on this machine",
            "Runs everything that is not configured to run elsewhere: two embedded Valkeys (live state, address books), the "
            "key-holder, a relay and the hub. Needs no configuration; keeps all data in one folder. Ctrl-C or SIGTERM ends all of it.",
        ),
        ("hub", "run one hub", "Runs one hub; redis_url, address_book_redis_url, keyholder_url and keyholder_secret must be set."),
        (
            "keyholder",
            "run the key-holder",
            "Runs the process that alone holds the discovery key; keyholder_url says where it listens.",
        ),
        (
            "relay",
            "run a relay",
            "Runs one relay, which carries encrypted media for calls that no other way gets through; redis_url must be set. Hubs find it "
            "there, and several share the calls. SIGTERM has its calls move to another relay, then ends it.",
        ),
        (
            "echo",
            "answer test calls",
            "Answers test calls: plays a greeting, then what it hears, and says how loud it is. One is enough for a service, on any machine that "
            "reaches a hub (echo_hub_url) and shares its secret (echo_secret or keyholder_secret). It keeps its keys in the data folder, and "
            "nothing of any call.",
        ),
        (
            "turn-config",
            "write a coturn configuration",
            "Writes a hardened turnserver.conf for the turn_secret of the settings: who has a credential of the hub may relay to the public "
            "internet and to nothing else. Without a turn_secret it makes one and says which settings the hub needs.",
        ),
        (
            "backup",
            "write what must last to one file",
            "Copies the database, the discovery key and the key-holder's secret, also while the service runs. Address books are not in it: they "
            "have no backup (P07). Whoever is deleted later is still in it: keep it safe, and not for long.",
        ),
        (
            "restore",
            "put a backup back",
            "Into an empty data folder or an empty PostgreSQL database, while no hub runs. Clients upload their address books again by themselves.",
        ),
        (
            "migrate",
            "bring the database to a schema",
            "Hubs do it by themselves when they start. This command does it beforehand, or takes the schema back before an older release is "
            "installed again: what the newer tables and columns hold is lost then, so make a backup first, and stop every hub.",
        ),
        (
            "scrub",
            "write the database's files anew",
            "What deleted rows leave in the files of a PostgreSQL (or SQLite) database goes: each table is written anew, and the write-ahead log is "
            "cleared. Whoever uses a table meanwhile waits, so run it when few do, once a week or so. Says what it could not do. Backups and "
            "archives of the log are not reached: docs/security.md.",
        ),
        (
            "check",
            "validate settings and reach every configured store and server",
            "Prints one line per thing; exits with 1 if any failed.",
        ),
        (
            "doctor",
            "say what is wrong with an installation, and what to do",
            "Looks at settings, stores and their kinds, the schema, the key-holder, relays, STUN and TURN servers, clock, disk, limits, ports, "
            "and certificates, and says what to do about what it finds. Exits with 1 if anything failed. Beside a running `serve`: with the same "
            "--data-dir and settings.",
        ),
    ):
        command = commands.add_parser(name, help=summary, description=detail)
        _common_options(command)
        if name == "turn-config":
            _turn_options(command)
        if name in ("backup", "restore"):
            command.add_argument("file", type=Path, metavar="FILE", help="the backup, a tar file")
        if name == "migrate":
            command.add_argument("--to", metavar="REVISION", help="which one (default: the newest that this release knows)")
        if name == "doctor":
            command.add_argument("--json", action="store_true", help="print JSON")
            command.add_argument(
                "--certificate",
                action="append",
                type=Path,
                default=[],
                metavar="FILE",
                help="a TLS certificate (PEM) to look at; can be repeated",
            )
            command.add_argument(
                "--url", metavar="URL", help="the service as its users reach it, to look at its certificate and whether it is ready"
            )
        if name in ("serve", "hub"):
            command.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
            command.add_argument("--port", type=int, help="port to listen on, 0 for a free one (default: 8440)")
        if name == "serve":
            command.add_argument("--workers", type=int, metavar="N", help="hubs to run on this machine, on one port (default: 1)")
    if admin:
        from signaling.admin_cli.main import add_commands

        add_commands(commands, _common_options)
    else:
        commands.add_parser("admin")
    return top


def _common_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings (default: $KLOUDTALK_CONFIG)")
    command.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="folder for everything that is kept (default: kloudtalk-data)"
    )


def _turn_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--output", type=Path, metavar="FILE", help="where to write, readable by its owner only (default: standard output)"
    )
    command.add_argument("--realm", required=True, help="the TURN realm: the server's domain name")
    command.add_argument(
        "--listening",
        action="append",
        metavar="IP",
        help="address of this machine to listen on; can be repeated (default: all of them)",
    )
    command.add_argument(
        "--external",
        action="append",
        default=[],
        metavar="IP",
        help="behind a one-to-one NAT: the public address of each --listening",
    )
    command.add_argument("--port", type=int, default=3478, dest="turn_port", help="for UDP and TCP (default: 3478)")
    command.add_argument("--tls-port", type=int, default=5349, help="for TLS (default: 5349)")
    command.add_argument("--also-443", action="store_true", help="listen on port 443 too, which passes most firewalls")
    command.add_argument("--certificate", metavar="FILE", help="TLS certificate chain, PEM; without it there is no TLS")
    command.add_argument("--private-key", metavar="FILE", help="the certificate's key, PEM")
    command.add_argument(
        "--relay-ports", default="49152-65535", metavar="FIRST-LAST", help="UDP ports to relay from (default: 49152-65535)"
    )
    command.add_argument("--user-quota", type=int, default=12, help="allocations of one credential at a time (default: 12)")
    command.add_argument("--total-quota", type=int, default=4800, help="allocations of all together (default: 4800)")
    command.add_argument("--max-bps", type=int, default=64_000, help="bytes a second of one allocation, each way (default: 64000)")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 well, 1 failed, 2 wrong usage or settings."""
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] in MOVED:
        print(
            f"kloudtalk {given[0]}: this is `kloudtalk admin {given[0]}` now; docs/operators.md says how to sign in",
            file=sys.stderr,
        )
        return 2
    options = parser(admin=not given or given[0] == "admin" or given[0].startswith("-")).parse_args(given)
    if options.command == "admin":
        from signaling.admin_cli.main import is_local, run_remote

        if not is_local(options):
            return run_remote(options)
    try:
        settings = load_settings(file=options.config)
        changes = {
            name: value for name in ("data_dir", "host", "port", "workers") if (value := getattr(options, name, None)) is not None
        }
        settings = replace(settings, **changes)
        if not 0 <= settings.port <= 65535:
            raise SettingsError("port: 0 to 65535")
        if not 1 <= settings.workers <= 64:
            raise SettingsError("workers: 1 to 64")
    except SettingsError as error:
        print(f"kloudtalk: {error}", file=sys.stderr)
        return 2
    configure_logs(options.command, settings.log_level, settings.log_format)
    if options.command == "serve":
        from signaling.supervisor import Supervisor

        return Supervisor(settings).run()
    if options.command == "turn-config":
        from signaling.turn import write_turn_config

        return write_turn_config(settings, options)
    if options.command == "check":
        from signaling.checks import run_checks

        return 0 if asyncio.run(run_checks(settings)) else 1
    if options.command in ("backup", "restore"):
        return _backup(settings, options.command, options.file)
    if options.command == "migrate":
        return _migrate(settings, options.to)
    if options.command == "scrub":
        return _scrub(settings)
    if options.command == "doctor":
        return _doctor(settings, options)
    if options.command == "admin":
        from signaling.admin_cli.main import run_local

        return run_local(settings, options)
    try:
        commands = {"hub": _hub, "keyholder": _keyholder, "relay": _relay, "echo": _echo}
        uvloop.run(commands[options.command](settings))
    except KeyboardInterrupt:
        return 0
    except Exception as error:
        print(f"kloudtalk {options.command}: {error or type(error).__name__}", file=sys.stderr, flush=True)
        return 1
    return 0


def _backup(settings: Settings, command: str, file: Path) -> int:
    from datetime import UTC, datetime

    from signaling.storage.backup import BackupError, make_backup, restore_backup

    try:
        if command == "backup":
            manifest = asyncio.run(make_backup(settings, file))
            print(f"wrote {', '.join(manifest.files)} to {file}")
        else:
            manifest = asyncio.run(restore_backup(settings, file))
            made = datetime.fromtimestamp(manifest.made_at / 1000, UTC)
            print(f"put back {', '.join(manifest.files)} of {made:%Y-%m-%d %H:%M} UTC, made by KloudTalk {manifest.version}")
    except (BackupError, OSError) as error:
        print(f"kloudtalk {command}: {error}", file=sys.stderr)
        return 1
    return 0


def _migrate(settings: Settings, target: str | None) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    from signaling.storage.migrate import NEWEST, MigrationError, migrate
    from signaling.storage.sql import configured_database

    async def run() -> str | None:
        database = configured_database(settings)
        try:
            return await migrate(database, target or NEWEST)
        finally:
            await database.close()

    try:
        print(f"the database is at revision {asyncio.run(run())}")
    except (MigrationError, OSError) as error:
        print(f"kloudtalk migrate: {error}", file=sys.stderr)
        return 1
    except SQLAlchemyError as error:
        print(f"kloudtalk migrate: the database does not answer ({type(error).__name__})", file=sys.stderr)
        return 1
    return 0


def _scrub(settings: Settings) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    from signaling.storage.scrub import rewrite_sql
    from signaling.storage.sql import configured_database

    async def run() -> list[str]:
        database = configured_database(settings)
        try:
            return await rewrite_sql(database)
        finally:
            await database.close()

    try:
        left = asyncio.run(run())
    except (SQLAlchemyError, OSError) as error:
        print(f"kloudtalk scrub: the database does not answer, or refuses ({type(error).__name__})", file=sys.stderr)
        return 1
    for sentence in left:
        print(f"not done: {sentence}", file=sys.stderr)
    print("the database's files are written anew")
    return 1 if left else 0


def _doctor(settings: Settings, options: argparse.Namespace) -> int:
    import msgspec

    from signaling.doctor.examination import examine
    from signaling.doctor.finding import shown

    diagnosis = asyncio.run(examine(settings, certificates=options.certificate, url=options.url))
    print(msgspec.json.format(msgspec.json.encode(diagnosis)).decode() if options.json else shown(diagnosis))
    return 0 if diagnosis.well else 1


async def _hub(settings: Settings) -> None:
    from signaling.app import run_hub

    await run_hub(settings)


async def _keyholder(settings: Settings) -> None:
    from signaling.contacts.keyholder import run_keyholder
    from signaling.telemetry.wiring import observe_keyholder

    if settings.keyholder_url is None or settings.keyholder_secret is None:
        raise ValueError("keyholder_url and keyholder_secret are needed")
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    await run_keyholder(
        url=settings.keyholder_url,
        secret=settings.keyholder_secret,
        key_file=settings.data_dir / "discovery.key",
        budget=settings.discovery_budget,
        refill_per_day=settings.discovery_refill_per_day,
        observe=lambda holder: observe_keyholder(holder, settings),
    )


async def _relay(settings: Settings) -> None:
    from media.options import RelayOptions, parse_ports, parse_tcp_port
    from media.process import run_relay
    from signaling.storage.redis import any_redis_client
    from signaling.telemetry.wiring import observe_relay

    if settings.redis_url is None:
        raise ValueError("redis_url is needed")
    redis = any_redis_client(settings.redis_url)
    await run_relay(
        RelayOptions(
            addresses=settings.relay_addresses,
            ports=parse_ports(settings.relay_ports),
            tcp=parse_tcp_port(settings.relay_tcp_port),
            capacity=settings.relay_capacity,
            bandwidth=settings.relay_bandwidth,
            plane=settings.relay_plane,
        ),
        redis,
        observe=lambda relay, control: observe_relay(relay, control, redis, settings),
    )


async def _echo(settings: Settings) -> None:
    from signaling.accounts.services import ECHO, service_token
    from signaling.supervisor import embedded_stores

    try:
        from signaling.client.echo import run_echo
        from signaling.client.observed import observe_echo
    except ImportError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'kloudtalk[client]'") from None
    if settings.echo_secret is None and settings.keyholder_secret is None:
        settings = embedded_stores(settings)
    shown = "localhost" if settings.host in ("0.0.0.0", "::", "127.0.0.1", "::1") else settings.host
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    await run_echo(
        settings.echo_hub_url or f"http://{shown}:{settings.port}",
        token=service_token(settings.echo_secret or settings.keyholder_secret or "", ECHO),
        profile=settings.data_dir / "echo.json",
        calls=settings.echo_calls,
        seconds=settings.echo_seconds,
        observe=lambda state: observe_echo(state, settings),
    )
