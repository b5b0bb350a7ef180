"""Foreign model contracts: models written for another server run here unchanged, one package for each contract."""
