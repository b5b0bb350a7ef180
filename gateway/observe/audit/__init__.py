"""What was answered, to whom, by which model: digests in a signed chain, and receipts that can be replayed."""

from gateway.observe.audit.s3 import AuditInfo, write_s3_audit

__all__ = ["AuditInfo", "write_s3_audit"]
