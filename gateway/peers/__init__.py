"""Other systems as the gateway calls them, by DICOMweb or DIMSE: peers that the operator names alone."""
