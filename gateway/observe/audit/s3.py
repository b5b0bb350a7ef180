"""S3: a copy of each record, and the object that existing services write for each answer. boto3 is known only here."""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypedDict
from urllib.parse import urlencode

from gateway.observe.audit.chain import Sealed
from gateway.observe.logs import TaggedLogger

logger = logging.getLogger("request_auditor")

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 3, 10, 2
"""How long an audit may keep the answer waiting; boto3's own defaults come to five minutes without a network."""


AT_ONCE = 8
"""Records put at the same time: each takes a store some 20 ms, most of it waiting."""


class S3Copies:
    """Puts each record as an object ``PREFIX/CHAIN/NUMBER.json``; the names sort as the chain goes.

    ``place`` is ``BUCKET`` or ``BUCKET/PREFIX``; credentials and endpoint come from boto3's own variables. A record
    that is put twice is the same object. Raises ImportError without boto3, the extra ``s3``.
    """

    name = "s3"

    def __init__(self, place: str) -> None:
        self._bucket, _, prefix = place.partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @cached_property
    def _client(self) -> Any:
        return _client()

    def write(self, records: Sequence[Sealed]) -> None:
        """Put the records; raises what boto3 raises for the first that could not be."""
        client = self._client
        with ThreadPoolExecutor(min(AT_ONCE, len(records))) as pool:
            list(pool.map(lambda record: self._put(client, record), records))

    def _put(self, client: Any, record: Sealed) -> None:
        key = f"{self._prefix}{record.head.chain}/{record.head.seq:020d}.json"
        body = record.line + b"\n"
        client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="application/json")

    def close(self) -> None:
        """Close the connections."""
        if "_client" in vars(self):
            self._client.close()


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
        _client().put_object(
            Bucket=os.environ["S3_AUDIT_BUCKET_NAME"],
            Key=f"{audit_info['input_hash']}:{audit_info['output_hash']}",
            Tagging=urlencode({"Vendor": vendor}),
        )
    except Exception as error:  # an audit that cannot be written must not take the answer with it
        tagged.warning("the audit was not written: %s", type(error).__name__)
    else:
        tagged.info("the audit was written")


def _client() -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": ATTEMPTS}
    )
    return boto3.Session().client("s3", config=config)  # the default session is not to be shared among threads
