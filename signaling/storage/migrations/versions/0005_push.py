"""where devices without a socket are woken"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the subscriptions."""
    op.create_table(
        "push_subscriptions",
        sa.Column("device", sa.String(length=22), nullable=False),
        sa.Column("account", sa.String(length=22), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("endpoint", sa.String(length=1024), nullable=False),
        sa.Column("p256dh", sa.String(length=87), nullable=True),
        sa.Column("auth", sa.String(length=22), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.id"], name=op.f("fk_push_subscriptions_device"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_push_subscriptions_account"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_push_subscriptions")),
    )
    with op.batch_alter_table("push_subscriptions", schema=None) as batch_op:
        batch_op.create_index("ix_push_subscriptions_account", ["account"], unique=False)


def downgrade() -> None:
    """Drop the subscriptions."""
    op.drop_table("push_subscriptions")
