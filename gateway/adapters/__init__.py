"""Foreign contracts, one package each: models, and clients, of other servers run here unchanged."""
