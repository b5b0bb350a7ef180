"""Other systems as the gateway calls them: QIDO-RS, WADO-RS and STOW-RS, to peers that the operator names alone."""
