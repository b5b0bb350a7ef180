"""Studies kept by digest: what came once is asked for by name. Results and bundles lie beside them. No HTTP here."""
