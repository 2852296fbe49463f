"""when the user last read an answer of support"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time."""
    with op.batch_alter_table("tickets", schema=None) as batch_op:
        batch_op.add_column(sa.Column("read_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Drop the time."""
    with op.batch_alter_table("tickets", schema=None) as batch_op:
        batch_op.drop_column("read_at")
