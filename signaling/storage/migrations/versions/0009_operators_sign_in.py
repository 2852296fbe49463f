"""operators sign in: roles, passwords and authenticators, passkeys, sessions, tokens; reasons on the trail; accounts can be blocked

An operator's secret of old becomes the code of an invitation, good for 30 days: with it they choose a password and an authenticator.
"""

import time

import sqlalchemy as sa
from alembic import op

from signaling.storage.tables import AUDIT_TRIGGERS

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_GRACE = 30 * 86_400 * 1000


def upgrade() -> None:
    """Create the tables, and invite who was an operator."""
    op.add_column("accounts", sa.Column("blocked_at", sa.BigInteger(), nullable=True))
    op.add_column("accounts", sa.Column("blocked_for", sa.String(length=16), nullable=True))
    with op.batch_alter_table("operators", schema=None) as batch_op:
        batch_op.add_column(sa.Column("role", sa.String(length=8), nullable=False, server_default="support"))
        batch_op.add_column(sa.Column("enrolment_hash", sa.LargeBinary(length=32), nullable=True))
        batch_op.add_column(sa.Column("enrolment_until", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("password_hash", sa.String(length=128), nullable=True))
        batch_op.add_column(sa.Column("totp_secret", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("totp_step", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("oidc_subject", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("disabled_at", sa.BigInteger(), nullable=True))
        batch_op.create_unique_constraint(op.f("uq_operators_oidc_subject"), ["oidc_subject"])
    until = int(time.time() * 1000) + _GRACE
    op.execute(
        sa.text("UPDATE operators SET enrolment_hash = secret_hash, enrolment_until = :until WHERE removed_at IS NULL").bindparams(
            until=until
        )
    )
    with op.batch_alter_table("operators", schema=None) as batch_op:
        batch_op.drop_column("secret_hash")
        batch_op.alter_column("role", existing_type=sa.String(length=8), existing_nullable=False, server_default=None)
    op.create_table(
        "operator_passkeys",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("operator", sa.String(length=32), nullable=False),
        sa.Column("credential", sa.LargeBinary(length=1023), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["operator"], ["operators.name"], name=op.f("fk_operator_passkeys_operator"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_passkeys")),
        sa.UniqueConstraint("credential", name=op.f("uq_operator_passkeys_credential")),
    )
    op.create_table(
        "operator_sessions",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("operator", sa.String(length=32), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("agent", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["operator"], ["operators.name"], name=op.f("fk_operator_sessions_operator"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_operator_sessions_token_hash")),
    )
    op.create_table(
        "operator_tokens",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("operator", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["operator"], ["operators.name"], name=op.f("fk_operator_tokens_operator"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_operator_tokens_token_hash")),
    )
    for table in ("operator_passkeys", "operator_sessions", "operator_tokens"):
        op.create_index(f"ix_{table}_operator", table, ["operator"])
    _change_trail(old=sa.String(length=22), new=sa.String(length=64), columns=True)


def downgrade() -> None:
    """Drop the tables. Operators keep their names; their old secrets work no more, unless they never enrolled."""
    _change_trail(old=sa.String(length=64), new=sa.String(length=64), columns=False)  # older hubs take longer subjects as they are
    for table in ("operator_tokens", "operator_sessions", "operator_passkeys"):
        op.drop_table(table)
    with op.batch_alter_table("operators", schema=None) as batch_op:
        batch_op.add_column(sa.Column("secret_hash", sa.LargeBinary(length=32), nullable=True))
    nothing = "x''" if _sqlite() else "''::bytea"
    op.execute(f"UPDATE operators SET secret_hash = COALESCE(enrolment_hash, {nothing})")  # noqa: S608 - our own words
    with op.batch_alter_table("operators", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("uq_operators_oidc_subject"), type_="unique")
        for column in (
            "role", "enrolment_hash", "enrolment_until", "password_hash", "totp_secret", "totp_step", "oidc_subject", "disabled_at",
        ):  # fmt: skip
            batch_op.drop_column(column)
        batch_op.alter_column("secret_hash", existing_type=sa.LargeBinary(length=32), nullable=False)
    with op.batch_alter_table("accounts", schema=None) as batch_op:
        batch_op.drop_column("blocked_for")
        batch_op.drop_column("blocked_at")


def _sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _change_trail(*, old: sa.String, new: sa.String, columns: bool) -> None:
    """SQLite makes the table anew, which its triggers do not survive; their work is done by nobody else meanwhile."""
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.alter_column("subject", existing_type=old, type_=new, existing_nullable=False)
        if columns:
            batch_op.add_column(sa.Column("reason", sa.String(length=200), server_default="", nullable=False))
            batch_op.add_column(sa.Column("via", sa.String(length=22), server_default="", nullable=False))
        else:
            batch_op.drop_column("reason")
            batch_op.drop_column("via")
    if _sqlite():
        for statement in AUDIT_TRIGGERS["sqlite"]:
            op.get_bind().exec_driver_sql(statement)
