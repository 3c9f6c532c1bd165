"""How much memory an evaluation takes, from its form: arithmetic on dtypes and shapes, before anything is allocated."""
