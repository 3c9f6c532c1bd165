"""What a failed call tells, beside its status."""
