"""Reports of an evaluation: tables, JSON, pictures, files of rows."""
