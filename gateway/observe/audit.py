"""An audit of what was asked and answered, by digests alone."""

import logging
import os
from typing import TypedDict
from urllib.parse import urlencode

from gateway.observe.logs import TaggedLogger

logger = logging.getLogger("request_auditor")

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 3, 10, 2
"""How long an audit may keep the answer waiting; boto3's own defaults come to five minutes without a network."""


class AuditInfo(TypedDict, total=False):
    """Two digests of 64 hexadecimal digits, and who provides the model."""

    input_hash: str
    output_hash: str
    vendor: str


def write_s3_audit(audit_info: AuditInfo) -> None:
    """Put an empty object ``input:output`` with the tag ``Vendor`` into the bucket of ``S3_AUDIT_BUCKET_NAME``.

    The bucket's name is read at each call. A failure is a warning in the log and is never raised. Needs boto3, the
    extra ``s3``.
    """
    vendor = audit_info.get("vendor", "Unknown")
    tagged = TaggedLogger(logger).tag({**audit_info, "vendor": vendor})
    try:
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": ATTEMPTS}
        )
        session = boto3.Session()  # the default one is not to be shared among threads
        session.client("s3", config=config).put_object(
            Bucket=os.environ["S3_AUDIT_BUCKET_NAME"],
            Key=f"{audit_info['input_hash']}:{audit_info['output_hash']}",
            Tagging=urlencode({"Vendor": vendor}),
        )
    except Exception as error:  # an audit that cannot be written must not take the answer with it
        tagged.warning("the audit was not written: %s", type(error).__name__)
    else:
        tagged.info("the audit was written")
