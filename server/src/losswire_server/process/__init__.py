"""This process and its machine: addresses, logs, memory, signals. May import no other room but the settings."""
