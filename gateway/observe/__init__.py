"""What happened, without patient data."""
