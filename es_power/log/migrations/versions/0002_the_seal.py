"""What the seal needs: the tree's larger nodes, the edge of a pruned log, and digests of texts that were cut."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("labels", sa.Column("whole", sa.LargeBinary(32)))
    labels = sa.table("labels", sa.column("text", sa.Text), sa.column("whole", sa.LargeBinary))
    # What was cut before: its digest is that of a text that nobody has any more.
    cut = sa.or_(sa.func.length(labels.c.text) > 255, labels.c.text.contains("\ufffd"))
    op.execute(sa.update(labels).values(whole=b"").where(cut))
    op.create_table(
        "tree",
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "pruned",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.Column("edge", sa.LargeBinary, nullable=False),
        sa.Column("archive", sa.BigInteger, nullable=False),
        sa.Column("kept", sa.LargeBinary, nullable=False),
        sa.Column("nodes", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("pruned_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "pruned_streams",
        sa.Column("stream", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
