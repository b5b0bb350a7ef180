"""DICOM as DICOMweb represents it (PS3.18): JSON and XML models, attributes of queries, frames, renderings."""
