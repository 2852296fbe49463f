"""Durable data: every SQL table in one place, so that the data inventory can be held against it.

Times are integer milliseconds since 1970-01-01T00:00:00Z. Keys and tokens are stored as the wire carries them (base64url) except
secrets, of which only a SHA-256 is stored.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    event,
    false,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts: Final = Table(
    "accounts",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("phone", String(16), nullable=False, unique=True),  # E.164
    Column("email", String(254), nullable=False, unique=True),  # normalised: domain in lower case, address case-folded
    Column("identity_key", String(43), nullable=False),  # Ed25519 public key
    Column("discovery_token", String(86), nullable=False, unique=True),  # OPRF output of the phone number
    Column("policy_version", String(32), nullable=False),  # the policy version that was acknowledged (P04)
    Column("who_can_call", String(16), nullable=False),
    Column("last_seen_to", String(20), nullable=False, server_default="contacts"),
    Column("online_to", String(20), nullable=False, server_default="same_as_last_seen"),
    Column("always_relay", Boolean, nullable=False, server_default=false()),
    Column("name", String(64), nullable=True),
    Column("about", String(140), nullable=True),
    Column("about_changed_at", BigInteger, nullable=True),
    Column("created_at", BigInteger, nullable=False),
    Column("restricted_at", BigInteger, nullable=True),  # frozen since (P23); null: not
    Column("business", Boolean, nullable=False, default=False, server_default=false()),  # shown to who deals with it (P30)
    Column(
        "service", String(16), nullable=True, unique=True
    ),  # a service of the operator's, as `echo`; null: a person or a business
    Column("blocked_at", BigInteger, nullable=True),  # blocked by an operator since; null: not
    Column("blocked_for", String(16), nullable=True),  # what the user is told
)

pictures: Final = Table(
    "pictures",
    metadata,
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("image", LargeBinary, nullable=False),  # drawn anew from what was sent
    Column("media_type", String(32), nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

presence_exceptions: Final = Table(
    "presence_exceptions",
    metadata,
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("setting", String(10), primary_key=True),  # last_seen or online
    Column("excepted", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Index("ix_presence_exceptions_excepted", "excepted"),
)

devices: Final = Table(
    "devices",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("certificate", Text, nullable=False),  # DeviceCertificate as JSON
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),  # SHA-256 of the session token
    Column("created_at", BigInteger, nullable=False),
    Column("details", Text, nullable=True),  # DeviceDetails as JSON, with the consent device_details
    Index("ix_devices_account", "account"),
)

consents: Final = Table(
    "consents",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("granted", Boolean, nullable=False),
    Column("policy_version", String(32), nullable=False),
    Column("text_sha256", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_consents_account_purpose", "account", "purpose"),
)

blocks: Final = Table(
    "blocks",
    metadata,
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("blocked", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Index("ix_blocks_blocked", "blocked"),
)

call_records: Final = Table(
    "call_records",
    metadata,
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("call", String(22), primary_key=True),
    Column("peer", String(22), nullable=False),  # no foreign key: the peer may be deleted, the user's own record stays
    Column("outgoing", Boolean, nullable=False),
    Column("reason", String(24), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("connected_at", BigInteger, nullable=True),
    Column("ended_at", BigInteger, nullable=False),
    Index("ix_call_records_account_started_at", "account", "started_at"),
)

call_quality: Final = Table(
    "call_quality",
    metadata,
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("call", String(22), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("mos", Integer, nullable=True),  # mean opinion score of what was heard, in hundredths: 100 to 440
    Column("measured", Text, nullable=True),  # MeasuredQuality as JSON: what the device counted
    Column("relayed", Text, nullable=True),  # RelayQuality as JSON: what the relay saw
)

owed_erasures: Final = Table(
    "owed_erasures",
    metadata,
    # no foreign key: the row outlives the account, until every store has done its part (P23)
    Column("account", String(22), primary_key=True),
    Column("what", String(16), primary_key=True),  # account, address_book
    Column("known", Boolean, nullable=False),  # whether the account goes on to exist
    Column("discovery_token", String(86), nullable=True),
    Column("handles", Text, nullable=False),  # JSON: keyed hashes under which Redis knows registrations under way
    Column("at", BigInteger, nullable=False),
)

objections: Final = Table(
    "objections",
    metadata,
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("interest", String(32), primary_key=True),
    Column("at", BigInteger, nullable=False),
)

push_subscriptions: Final = Table(
    "push_subscriptions",
    metadata,
    Column("device", String(22), ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True),
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("endpoint", String(1024), nullable=False),  # web push: URL at the browser's push service; else the device token
    Column("p256dh", String(87), nullable=True),  # the browser's public key (RFC 8291)
    Column("auth", String(22), nullable=True),  # the browser's secret for it (RFC 8291)
    Column("created_at", BigInteger, nullable=False),
    Index("ix_push_subscriptions_account", "account"),
)

operators: Final = Table(
    "operators",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("role", String(8), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("enrolment_hash", LargeBinary(32), nullable=True),  # SHA-256 of the invitation's code; null once used
    Column("enrolment_until", BigInteger, nullable=True),
    Column("password_hash", String(128), nullable=True),  # argon2id; null until enrolled
    Column("totp_secret", LargeBinary, nullable=True),  # sealed under a key of the hubs
    Column("totp_step", BigInteger, nullable=False, server_default="0"),  # the newest step that was used (RFC 6238, section 5.2)
    Column("oidc_subject", String(64), nullable=True, unique=True),  # SHA-256 of issuer and subject
    Column("disabled_at", BigInteger, nullable=True),
    Column("removed_at", BigInteger, nullable=True),
)

operator_passkeys: Final = Table(
    "operator_passkeys",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("operator", String(32), ForeignKey("operators.name", ondelete="CASCADE"), nullable=False),
    Column("credential", LargeBinary(1023), nullable=False, unique=True),  # WebAuthn Level 3: at most 1,023 bytes
    Column("public_key", LargeBinary, nullable=False),  # COSE
    Column("uses", BigInteger, nullable=False),  # the authenticator's signature counter
    Column("name", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=True),
    Index("ix_operator_passkeys_operator", "operator"),
)

operator_sessions: Final = Table(
    "operator_sessions",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("operator", String(32), ForeignKey("operators.name", ondelete="CASCADE"), nullable=False),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),  # SHA-256
    Column("method", String(8), nullable=False),
    Column("agent", String(120), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),  # to the minute
    Index("ix_operator_sessions_operator", "operator"),
)

operator_tokens: Final = Table(
    "operator_tokens",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("operator", String(32), ForeignKey("operators.name", ondelete="CASCADE"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),  # SHA-256
    Column("scopes", Text, nullable=False),  # permissions, separated by spaces
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=True),  # to the minute
    Index("ix_operator_tokens_operator", "operator"),
)

rights_requests: Final = Table(
    "rights_requests",
    metadata,
    Column("id", String(22), primary_key=True),
    # null once the request is over
    Column("account", String(22), ForeignKey("accounts.id", ondelete="SET NULL"), nullable=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("opened_by", String(32), nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("verified_by", String(32), nullable=True),
    Column("evidence", String(24), nullable=True),
    Column("confirmed_by", String(32), nullable=True),
    Column("closed_at", BigInteger, nullable=True),
    Column("code_digest", String(64), nullable=True),
    Column("code_sent_at", BigInteger, nullable=True),
    Column("code_tries", Integer, nullable=False, default=0),
)

audit_log: Final = Table(
    "audit_log",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("operator", String(32), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("reason", String(200), nullable=False, server_default=""),
    Column("via", String(22), nullable=False, server_default=""),
    Column("before", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)

tickets: Final = Table(
    "tickets",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("subject", String(120), nullable=False),
    Column("state", String(16), nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger, nullable=True),
    Column("read_at", BigInteger, nullable=True),  # by the user, since the last answer
    Index("ix_tickets_account", "account"),
)

ticket_messages: Final = Table(
    "ticket_messages",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("ticket", String(22), ForeignKey("tickets.id", ondelete="CASCADE"), nullable=False),
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("from_operator", Boolean, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_ticket_messages_ticket", "ticket"),
)

ticket_attachments: Final = Table(
    "ticket_attachments",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("ticket", String(22), ForeignKey("tickets.id", ondelete="CASCADE"), nullable=False),
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("message", String(22), ForeignKey("ticket_messages.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("media_type", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index("ix_ticket_attachments_ticket", "ticket"),
)

announcements: Final = Table(
    "announcements",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("title", String(120), nullable=False),
    Column("text", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

plans: Final = Table(
    "plans",
    metadata,
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("trial_until", BigInteger, nullable=True),
    Column("paid_until", BigInteger, nullable=True),
)

orders: Final = Table(
    "orders",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("product", String(32), nullable=False),
    Column("days", Integer, nullable=False),
    Column("amount", Integer, nullable=False),  # in the currency's smallest unit
    Column("currency", String(3), nullable=False),
    Column("state", String(16), nullable=False),
    Column("ordered_at", BigInteger, nullable=False),
    Column("unpaid_since", BigInteger, nullable=True),  # null once paid
    Column("paid_at", BigInteger, nullable=True),
)

order_references: Final = Table(
    "order_references",
    metadata,
    # who bought it: goes with the account, while the order stays in the books
    Column("order", String(22), ForeignKey("orders.id", ondelete="CASCADE"), primary_key=True),
    Column("account", String(22), ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("reference", String(128), nullable=True),  # the provider's name for the payment
    Index("ix_order_references_account", "account"),
)

AUDIT_YEARS: Final = 3
_AUDIT_SECONDS: Final = AUDIT_YEARS * 365 * 86_400

AUDIT_TRIGGERS: Final[dict[str, tuple[str, ...]]] = {
    "sqlite": (
        "CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
        "CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log "
        f"WHEN OLD.at > (CAST(strftime('%s', 'now') AS INTEGER) - {_AUDIT_SECONDS}) * 1000 "
        "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION audit_log_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'DELETE' AND OLD.at <= (extract(epoch FROM now())::bigint - {_AUDIT_SECONDS}) * 1000 THEN RETURN OLD; END IF; "
        "RAISE EXCEPTION 'the audit trail is append-only'; END $$",
        "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log "
        "FOR EACH ROW EXECUTE FUNCTION audit_log_append_only()",
    ),
}
"""What makes the audit trail append-only, by dialect: entries younger than three years can be neither changed nor deleted (P24)."""


@event.listens_for(audit_log, "after_create")
def _make_append_only(_table: Table, connection: Connection, **_: Any) -> None:
    for statement in AUDIT_TRIGGERS[connection.dialect.name]:
        connection.exec_driver_sql(statement)
