"""The audit: digests of each request and answer in a signed chain, and receipts that can be replayed."""

from gateway.observe.audit.s3 import AuditInfo, write_s3_audit

__all__ = ["AuditInfo", "write_s3_audit"]
