"""What Alembic runs to migrate: in the transaction that ``migrating`` has begun."""

from alembic import context

from losswire_server.runs.database.migrating import VERSION_TABLE
from losswire_server.runs.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
