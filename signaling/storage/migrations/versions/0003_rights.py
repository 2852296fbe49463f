"""rights: restriction, objections, owed erasures"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.add_column("accounts", sa.Column("restricted_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "owed_erasures",
        sa.Column("account", sa.String(length=22), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.Column("discovery_token", sa.String(length=86), nullable=True),
        sa.Column("handles", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "what", name=op.f("pk_owed_erasures")),
    )
    op.create_table(
        "objections",
        sa.Column("account", sa.String(length=22), nullable=False),
        sa.Column("interest", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_objections_account"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account", "interest", name=op.f("pk_objections")),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("objections")
    op.drop_table("owed_erasures")
    op.drop_column("accounts", "restricted_at")
