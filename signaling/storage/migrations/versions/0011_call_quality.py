"""How well calls worked.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "call_quality",
        sa.Column("account", sa.String(length=22), nullable=False),
        sa.Column("call", sa.String(length=22), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("mos", sa.Integer(), nullable=True),
        sa.Column("measured", sa.Text(), nullable=True),
        sa.Column("relayed", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_call_quality_account"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account", "call", name=op.f("pk_call_quality")),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("call_quality")
