"""who sees last seen and online; always relay"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the settings, with the defaults of a new account."""
    with op.batch_alter_table("accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("last_seen_to", sa.String(length=20), server_default="contacts", nullable=False))
        batch_op.add_column(sa.Column("online_to", sa.String(length=20), server_default="same_as_last_seen", nullable=False))
        batch_op.add_column(sa.Column("always_relay", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "presence_exceptions",
        sa.Column("account", sa.String(length=22), nullable=False),
        sa.Column("setting", sa.String(length=10), nullable=False),
        sa.Column("excepted", sa.String(length=22), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_presence_exceptions_account"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["excepted"], ["accounts.id"], name=op.f("fk_presence_exceptions_excepted"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account", "setting", "excepted", name=op.f("pk_presence_exceptions")),
    )
    with op.batch_alter_table("presence_exceptions", schema=None) as batch_op:
        batch_op.create_index("ix_presence_exceptions_excepted", ["excepted"], unique=False)


def downgrade() -> None:
    """Drop the table and the settings."""
    op.drop_table("presence_exceptions")
    for column in ("always_relay", "online_to", "last_seen_to"):
        op.drop_column("accounts", column)
