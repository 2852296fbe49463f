"""Settings: one Struct, filled from defaults, then a TOML file, then the environment (``KLOUDTALK_`` and the name in capitals).

``docs/settings.md`` is generated from it.
"""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set. Defaults run a complete service on one machine with no configuration."""

    server_name: Annotated[str, Meta(min_length=1, max_length=64, description="Name shown to users.")] = "KloudTalk"
    data_dir: Annotated[Path, Meta(description="Folder for everything that the embedded stores keep.")] = Path("kloudtalk-data")
    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 picks a free one.")] = 8440
    workers: Annotated[
        int,
        Meta(ge=1, le=64, description="Hubs that `serve` runs on this machine, on one port (SO_REUSEPORT): one per core at most."),
    ] = 1
    drain_seconds: Annotated[
        float,
        Meta(ge=0, le=300, description="Seconds over which a hub that gets SIGTERM sends its clients to the other hubs."),
    ] = 5.0
    origins: Annotated[
        tuple[str, ...],
        Meta(description="Origins of web pages that may connect, beside the server's own address."),
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="Networks (CIDR) of reverse proxies whose X-Forwarded-For is believed."),
    ] = ()
    web_root: Annotated[Path | None, Meta(description="Folder with the built web demo; none: the one beside the package.")] = None
    operator_root: Annotated[
        Path | None,
        Meta(description="Folder with the built operators' page, served at `/operator/`; none: the one beside the package."),
    ] = None
    policy_file: Annotated[
        Path | None,
        Meta(description="Privacy policy (Markdown), with translations beside it (policy.de.md); none: the one in the package."),
    ] = None
    policy_version: Annotated[str, Meta(min_length=1, max_length=32, description="Version of the policy in force (P04).")] = (
        "2026-1"
    )

    database_url: Annotated[
        str | None,
        Meta(description="SQL database; none: SQLite in the data folder. `postgresql+asyncpg://user:password@host/name`."),
    ] = None
    redis_url: Annotated[str | None, Meta(description="Redis for live state; none: an embedded Valkey is started.")] = None
    address_book_redis_url: Annotated[
        str | None,
        Meta(description="Redis for address books. It must not persist (P07): the hub refuses to start otherwise. None: embedded."),
    ] = None

    keyholder_url: Annotated[
        str | None, Meta(description="Key-holder process: `unix:/path` or `http://host:port`; none: one is started.")
    ] = None
    keyholder_secret: Annotated[
        str | None,
        Meta(description="Shared secret of hub and key-holder, 32 characters or more; none: made and kept in the data folder."),
    ] = None
    discovery_budget: Annotated[
        int, Meta(ge=1, description="Numbers that one account may have evaluated at once; the budget's size.")
    ] = 20_000
    discovery_refill_per_day: Annotated[int, Meta(ge=1, description="Numbers a day by which the budget refills.")] = 1_000

    limits_scale: Annotated[
        float,
        Meta(
            ge=0.1,
            le=1e6,
            description="Multiplies the limits on how often devices, accounts and addresses may call, connect and ask: 10 for a call centre.",
        ),
    ] = 1.0

    call_history_days: Annotated[
        int, Meta(ge=0, description="Days after which a line of a user's call history is deleted; 0: when the user does.")
    ] = 365

    call_trace_hours: Annotated[
        int,
        Meta(
            ge=0,
            le=720,
            description="Hours for which operators can see what became of a call that ended (stages, rungs, reason, under pseudonyms); "
            "0: not at all.",
        ),
    ] = 72

    trial_days: Annotated[int, Meta(ge=0, le=366, description="Days of the free trial of a plan; 0: there is none.")] = 30
    products: Annotated[
        tuple[str, ...],
        Meta(description="What can be bought, as `name:days:amount:currency` (`plus-month:30:299:EUR`: 2.99 euros for 30 days)."),
    ] = ()
    payment_checkout_url: Annotated[
        str | None, Meta(description="Checkout page of the payment provider; gets `order`, `amount`, `currency`, `signature`.")
    ] = None
    payment_secret: Annotated[
        str | None,
        Meta(description="Secret shared with the payment provider, as `whsec_…`; its webhooks come to `/webhooks/payments`."),
    ] = None

    phone_delivery: Annotated[Literal["console", "http"], Meta(description="How codes reach phones.")] = "console"
    email_delivery: Annotated[Literal["console", "smtp"], Meta(description="How codes reach mailboxes.")] = "console"
    sms_url: Annotated[str | None, Meta(description="HTTP SMS gateway: receives POST {to, text} as JSON.")] = None
    sms_authorization: Annotated[str | None, Meta(description="Authorization header for the SMS gateway.")] = None
    smtp_host: Annotated[str | None, Meta(description="Mail server.")] = None
    smtp_port: Annotated[int, Meta(ge=1, le=65535, description="Port of the mail server.")] = 587
    smtp_username: Annotated[str | None, Meta(description="User at the mail server.")] = None
    smtp_password: Annotated[str | None, Meta(description="Password at the mail server.")] = None
    smtp_from: Annotated[str | None, Meta(description="Sender address of mails.")] = None
    smtp_tls: Annotated[Literal["starttls", "tls", "none"], Meta(description="Transport security to the mail server.")] = "starttls"

    stun_urls: Annotated[
        tuple[str, ...],
        Meta(description="STUN servers, as `stun:host:port`; with several regions, each with `REGION=` in front."),
    ] = ()
    turn_urls: Annotated[
        tuple[str, ...],
        Meta(
            description="TURN servers, as `turn:host:3478?transport=udp` or `turns:host:443?transport=tcp`; with several regions, each with "
            "`REGION=` in front. `turns:` needs a host name: Firefox takes no address there."
        ),
    ] = ()
    turn_secret: Annotated[
        str | None,
        Meta(description="coturn's static-auth-secret; needed with turn_urls. `kloudtalk turn-config` writes its configuration."),
    ] = None
    turn_previous_secret: Annotated[
        str | None,
        Meta(
            description="The secret before, for `kloudtalk turn-config`: set it for turn_lifetime after turn_secret was replaced."
        ),
    ] = None
    turn_region: Annotated[
        str | None,
        Meta(
            description="Region of this hub's clients, one of those in stun_urls and turn_urls: they get its servers first, and of other "
            "regions none. Empty: all servers.",
        ),
    ] = None
    turn_lifetime: Annotated[int, Meta(ge=60, description="Seconds for which a TURN credential holds.")] = 43_200

    geoip_database: Annotated[
        Path | None,
        Meta(
            description="MaxMind database (.mmdb) on this machine, for the country and region of IP addresses (P19); none: not known."
        ),
    ] = None

    relay: Annotated[bool, Meta(description="Whether `serve` starts a relay for calls that no other way gets through.")] = True
    relay_addresses: Annotated[
        tuple[str, ...],
        Meta(
            description="IP addresses that the relay listens on, each `IP` or, on a cloud host behind a one-to-one NAT, `IP=PUBLIC`; "
            "none: every address of the machine."
        ),
    ] = ()
    relay_ports: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]{1,5}(-[0-9]{1,5})?\Z",
            description="UDP ports `FIRST-LAST` for relays: each takes one of them for all its calls; open them in the firewall.",
        ),
    ] = "8441-8456"
    relay_tcp_port: Annotated[
        str,
        Meta(
            pattern=r"^(off|(same|[0-9]{1,5})(=[0-9]{1,5})?)\Z",
            description="TCP port of a relay, for clients whose network lets no UDP through: `same` number as its UDP port, `PORT`, "
            "`PORT=PUBLIC` where clients reach it at another one, or `off`. 443 gets through the strictest networks; it must not be the web "
            "server's on that address.",
        ),
    ] = "same"
    relay_capacity: Annotated[int, Meta(ge=1, le=50_000, description="Calls that one relay carries at a time.")] = 1_000
    relay_bandwidth: Annotated[
        int,
        Meta(ge=8_000, description="Bytes a second that one device may send through the relay; a voice call needs about 8,000."),
    ] = 64_000
    push_contact: Annotated[
        str,
        Meta(
            pattern=r"^(mailto:|https://)\S+\Z",
            description="How the operators of push services can reach you, as `mailto:` or `https:`; Apple's refuses localhost (RFC 8292).",
        ),
    ] = "mailto:admin@localhost"
    push_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Web push services that browsers may name: a host, `*.` for all below it, or `*` for any on the public internet."
        ),
    ] = (
        "fcm.googleapis.com",
        "updates.push.services.mozilla.com",
        "web.push.apple.com",
        "*.notify.windows.com",
    )
    push_allow_private: Annotated[
        bool, Meta(description="Also send to push services on private addresses: one of your own. Never with `push_hosts = *`.")
    ] = False
    apns_key_file: Annotated[Path | None, Meta(description="Signing key for APNs (.p8); none: no pushes to Apple's apps.")] = None
    apns_key_id: Annotated[str | None, Meta(description="Its id.")] = None
    apns_team_id: Annotated[str | None, Meta(description="Team that it belongs to.")] = None
    apns_topic: Annotated[str | None, Meta(description="The app's bundle id; with `.voip` behind it, it is woken by PushKit.")] = (
        None
    )
    apns_sandbox: Annotated[bool, Meta(description="Use Apple's development service.")] = False
    fcm_credentials_file: Annotated[
        Path | None, Meta(description="Service account for Firebase Cloud Messaging (JSON); none: no pushes to Android apps.")
    ] = None

    echo: Annotated[bool, Meta(description="Whether `serve` starts the echo that answers test calls.")] = True
    echo_hub_url: Annotated[
        str | None, Meta(description="The hub that `kloudtalk echo` connects to; none: the one at host and port of these settings.")
    ] = None
    echo_secret: Annotated[
        str | None,
        Meta(description="Secret that hubs and `kloudtalk echo` share, 32 characters or more; none: keyholder_secret."),
    ] = None
    echo_calls: Annotated[int, Meta(ge=1, le=64, description="Test calls at a time; more are told that it is busy.")] = 4
    echo_seconds: Annotated[int, Meta(ge=15, le=600, description="Seconds after which the echo hangs up.")] = 60

    relay_plane: Annotated[
        Literal["auto", "native", "python"],
        Meta(
            description="What moves the relay's packets: code in C (`native`), in Python, or the former where it was built (`auto`)."
        ),
    ] = "auto"

    metrics_host: Annotated[
        str, Meta(min_length=1, description="Address for Prometheus and for health with its reasons; never the public port.")
    ] = "127.0.0.1"
    metrics_port: Annotated[
        int,
        Meta(
            ge=0,
            le=65_400,
            description="Port for them; 0: none. `serve` gives it to its key-holder, the next one to its relay, those behind to its hubs, and the last to its echo.",
        ),
    ] = 9440
    admin_url: Annotated[
        str | None,
        Meta(
            description="Where operators reach the service, `https://host`; needed for the single sign-on, and names passkeys' host. "
            "None: as the browser says.",
        ),
    ] = None
    operator_idle_minutes: Annotated[
        int, Meta(ge=1, le=1440, description="Minutes after which an operator's unused session ends.")
    ] = 30
    operator_session_hours: Annotated[int, Meta(ge=1, le=48, description="Hours after which an operator's session ends.")] = 12
    oidc_issuer: Annotated[
        str | None,
        Meta(description="Single sign-on for operators: issuer of the OpenID Connect provider, as its discovery document says."),
    ] = None
    oidc_client_id: Annotated[
        str | None, Meta(description="This service's id there; redirects to `/v1/admin/login/oidc/callback`.")
    ] = None
    oidc_client_secret: Annotated[str | None, Meta(description="Its secret; none: a public client (PKCE is used either way).")] = (
        None
    )
    oidc_scopes: Annotated[tuple[str, ...], Meta(description="Scopes to ask for beside `openid`.")] = ("profile",)
    oidc_role_claim: Annotated[
        str, Meta(description="Claim that says the role; dots lead into objects (`realm_access.roles`).")
    ] = "groups"
    oidc_roles: Annotated[
        tuple[str, ...], Meta(description="What its values give, as `VALUE=ROLE` with `viewer`, `support` or `admin`.")
    ] = ()
    oidc_name_claim: Annotated[str, Meta(description="Claim that an operator's name is made of.")] = "preferred_username"
    oidc_label: Annotated[str, Meta(min_length=1, max_length=40, description="What the button says.")] = "Single sign-on"

    otlp_endpoint: Annotated[
        str | None,
        Meta(
            description="OpenTelemetry collector that gets spans of calls over OTLP/HTTP, as `http://host:4318`; needs `kloudtalk[tracing]`. None: no traces.",
        ),
    ] = None
    otlp_share: Annotated[
        float, Meta(ge=0, le=1, description="Share of the calls that are traced: the same ones at all hubs and relays.")
    ] = 1.0

    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="What is logged.")] = "info"
    log_format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="How: one JSON object a line, lines to read, or the latter on a terminal only (`auto`)."),
    ] = "auto"
