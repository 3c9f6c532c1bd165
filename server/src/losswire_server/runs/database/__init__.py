"""The database: where it is, its tables, transactions, migrations. Imports SQLAlchemy."""
