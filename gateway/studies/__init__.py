"""Studies stored by digest, and referred to by later requests; results and bundles beside them. No HTTP here."""
