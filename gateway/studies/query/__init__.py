"""The tables of QIDO-RS: attributes of stored studies, filled where DICOMweb is on, and searched by callers."""
