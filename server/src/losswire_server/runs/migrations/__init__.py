"""Migrations of the store's tables, which Alembic runs. A new one goes into ``versions``; none is ever changed."""
