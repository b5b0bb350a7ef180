"""``write_s3_audit`` under the name that services import it by."""

from gateway.observe.audit import write_s3_audit

__all__ = ["write_s3_audit"]
