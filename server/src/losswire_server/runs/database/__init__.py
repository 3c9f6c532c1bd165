"""The database: where it is, its tables, transactions, migrations. Imports SQLAlchemy."""

import logging

# Alembic tells of itself a dozen lines at each start, some while it is imported. `migrating` says what matters.
logging.getLogger("alembic").setLevel(logging.WARNING)
