"""What many workers evaluate, added up by key, once, on disk. Only a server that keeps runs loads SQLAlchemy."""
