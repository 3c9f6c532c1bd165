"""Coverage-guided fuzzing of what turns a caller's bytes into slabs and answers: ``python -m trials.fuzz``."""
