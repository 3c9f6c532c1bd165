"""A small caller beside many large ones: how long its calls take, compared with alone."""
