"""What is told of an evaluation: tables, JSON, pictures, files of rows."""
