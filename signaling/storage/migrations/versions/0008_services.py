"""Accounts of services, as the test call.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    with op.batch_alter_table("accounts") as batch_op:
        batch_op.add_column(sa.Column("service", sa.String(length=16), nullable=True))
        batch_op.create_unique_constraint(op.f("uq_accounts_service"), ["service"])


def downgrade() -> None:
    """Drop it; a service has no number, so its account goes too."""
    op.execute("DELETE FROM accounts WHERE service IS NOT NULL")
    with op.batch_alter_table("accounts") as batch_op:
        batch_op.drop_constraint(op.f("uq_accounts_service"), type_="unique")
        batch_op.drop_column("service")
