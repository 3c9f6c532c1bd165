"""Reports of a comparison: tables, JSON, pictures, files of rows."""
