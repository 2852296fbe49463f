"""name, about, picture; what a device tells about itself"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table; nothing is known yet."""
    with op.batch_alter_table("accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("name", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("about", sa.String(length=140), nullable=True))
        batch_op.add_column(sa.Column("about_changed_at", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.add_column(sa.Column("details", sa.Text(), nullable=True))
    op.create_table(
        "pictures",
        sa.Column("account", sa.String(length=22), nullable=False),
        sa.Column("image", sa.LargeBinary(), nullable=False),
        sa.Column("media_type", sa.String(length=32), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_pictures_account"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_pictures")),
    )


def downgrade() -> None:
    """Drop the columns and the table."""
    op.drop_table("pictures")
    op.drop_column("devices", "details")
    for column in ("about_changed_at", "about", "name"):
        op.drop_column("accounts", column)
