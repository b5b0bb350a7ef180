"""Webhooks: the end of a run is reported to the URL that its caller named, durably, and to allowed origins alone."""
