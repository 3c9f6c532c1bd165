"""The first tables: runs, their definitions, keys, slices and classes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "losswire_runs",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", NAME, unique=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("by_class", sa.Boolean, nullable=False),
        sa.Column("expected_keys", sa.BigInteger),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("key_count", sa.BigInteger, nullable=False),
        sa.Column("slice_count", sa.BigInteger, nullable=False),
        sa.Column("class_count", sa.BigInteger, nullable=False),
        sa.Column("sums", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "losswire_run_definitions",
        sa.Column("run_id", ID, primary_key=True, autoincrement=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("spec", sa.LargeBinary, nullable=False),
    )
    _of_a_run(
        "losswire_run_keys",
        sa.Column("key", NAME, primary_key=True),
        sa.Column("slice", sa.Text, nullable=False),
        sa.Column("committed_at", sa.Double, nullable=False),
    )
    _of_a_run(
        "losswire_run_slices",
        sa.Column("slice", NAME, primary_key=True),
        sa.Column("key_count", sa.BigInteger, nullable=False),
    )
    _of_a_run(
        "losswire_run_classes",
        sa.Column("class_index", sa.BigInteger, primary_key=True, autoincrement=False),
    )


def _of_a_run(name: str, *columns: "sa.Column[object]") -> None:
    run_id = sa.Column("run_id", ID, primary_key=True, autoincrement=False)
    sums = sa.Column("sums", sa.LargeBinary, nullable=False)
    op.create_table(name, run_id, *columns, sums, sqlite_with_rowid=False)
