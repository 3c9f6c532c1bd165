"""The tables, one schema for SQLite and PostgreSQL. ``migrations`` makes them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

metadata = MetaData()

Name = Text().with_variant(Text(collation="C"), "postgresql")  # in the order of the bytes, as in SQLite
Id = BigInteger().with_variant(Integer(), "sqlite")  # there only an INTEGER is numbered

# What changes with every bundle of keys. Sums are `ExactSums` messages of the contract.
runs = Table(
    "losswire_runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Name, unique=True),  # NULL once the run is deleted, until all of its rows are
    Column("digest", Text, nullable=False),
    Column("by_class", Boolean, nullable=False),
    Column("expected_keys", BigInteger),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("version", BigInteger, nullable=False),  # of the totals, those of slices and classes too
    Column("key_count", BigInteger, nullable=False),
    Column("slice_count", BigInteger, nullable=False),
    Column("class_count", BigInteger, nullable=False),
    Column("sums", LargeBinary, nullable=False),
    sqlite_autoincrement=True,  # no number is ever used again
)

# What never changes, and may be large: class weights. Apart, since SQLite writes a row as a whole.
definitions = Table(
    "losswire_run_definitions",
    metadata,
    Column("run_id", Id, primary_key=True, autoincrement=False),
    Column("labels", Text, nullable=False),  # a JSON object
    Column("spec", LargeBinary, nullable=False),
)

keys = Table(
    "losswire_run_keys",
    metadata,
    Column("run_id", Id, primary_key=True, autoincrement=False),
    Column("key", Name, primary_key=True),
    Column("slice", Text, nullable=False),
    Column("committed_at", Double, nullable=False),
    Column("sums", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

slices = Table(
    "losswire_run_slices",
    metadata,
    Column("run_id", Id, primary_key=True, autoincrement=False),
    Column("slice", Name, primary_key=True),
    Column("key_count", BigInteger, nullable=False),
    Column("sums", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

classes = Table(
    "losswire_run_classes",
    metadata,
    Column("run_id", Id, primary_key=True, autoincrement=False),
    Column("class_index", BigInteger, primary_key=True, autoincrement=False),
    Column("sums", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
