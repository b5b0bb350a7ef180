"""One module for each protocol spoken over HTTP; only here and in ``gateway.app`` is Flask known."""
