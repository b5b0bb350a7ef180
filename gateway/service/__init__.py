"""The service: one inference from admission to outcome, below every door. No HTTP and no framing here."""
