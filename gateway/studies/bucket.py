"""Bytes in an S3 bucket (extra ``s3``): uploaded under a key that nobody else uses, read into a file without a name.

boto3 finds region, credentials and endpoint in its own places (``AWS_ENDPOINT_URL_S3`` for another service than AWS).
"""

import base64
import hashlib
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from gateway.errors import Unavailable
from gateway.extras import hint
from gateway.spool.disk import on_disk
from gateway.studies.blobs import STORE, Incoming, Spoiled

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError as error:
    raise ImportError(f"A study store in a bucket needs boto3; {hint('s3')}") from error

CONNECTIONS = 32
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 60, 4
PIECE = 1 << 20
QUARANTINE = "quarantine"


class BucketBlobs:
    """The keeper of bytes in a bucket. A key is used once, so that no two writers can meet at it."""

    waits = True

    def __init__(self, bucket: str, kind: str, folder: Path) -> None:
        """``bucket`` is its name, or name/prefix; ``kind`` one more level. Copies for readers lie in ``folder``."""
        self._bucket, _, prefix = bucket.partition("/")
        self._prefix = f"{prefix.strip('/')}/{kind}/".lstrip("/")
        self._folder = folder
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=CONNECTIONS,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        )
        self._client = boto3.Session().client("s3", config=config)

    def settle(self, incoming: Incoming, name: str, *, late: bool = False) -> str:
        """Upload; S3 checks the digest too. Raises Unavailable."""
        location = f"{name}-{secrets.token_hex(4)}"
        checksum = base64.b64encode(bytes.fromhex(incoming.sha256)).decode()
        with incoming.reader() as file:
            self._call("put_object", Key=self._key(location), Body=file, ChecksumSHA256=checksum)
        return location

    def place(self, incoming: Incoming, location: str, *, last: bool = True) -> None:
        """Do nothing: the bytes are in the bucket already."""

    def finishing(self, locations: Iterable[str], late: Iterable[Incoming] = ()) -> list[Callable[[], None]]:
        """Return nothing to do."""
        return []

    def abandon(self, location: str) -> None:
        """Delete what was uploaded in vain."""
        self.remove(location)

    def open(self, location: str, sha256: str, size: int, *, unchanged: bool = False) -> BinaryIO:
        """Download to an anonymous file. Raises Spoiled, StorageFull, Unavailable."""
        answer = self._call("get_object", Key=self._key(location))
        body = answer["Body"]
        if answer["ContentLength"] != size:
            body.close()
            raise Spoiled
        digest = hashlib.sha256()
        with ExitStack() as undo, on_disk(STORE), _answering():
            file = undo.enter_context(tempfile.TemporaryFile(dir=self._folder))
            for piece in body.iter_chunks(PIECE):
                digest.update(piece)
                file.write(piece)
            if digest.hexdigest() != sha256:
                raise Spoiled
            file.seek(0)
            undo.pop_all()
        return file

    def has(self, location: str, size: int) -> bool:
        """Trust the index: to ask the bucket for each instance would take longer than to send it."""
        return True

    def remove(self, *locations: str, used_too: bool = False) -> bool:
        """Delete; readers have copies of their own."""
        for location in locations:
            self._call("delete_object", Key=self._key(location))
        return True

    def quarantine(self, location: str, label: str) -> None:
        """Copy under another prefix, and delete."""
        source = {"Bucket": self._bucket, "Key": self._key(location)}
        try:
            self._call("copy_object", Key=self._key(f"{QUARANTINE}/{label}-{location}"), CopySource=source)
        except Spoiled:  # it is gone altogether
            return
        self.remove(location)

    def purge(self, label: str) -> None:
        """Delete what was set aside under a label."""
        for key, _ in self._list(f"{QUARANTINE}/{label}-"):
            self.remove(key)

    def purge_older(self, moment: float) -> None:
        """Delete what was set aside before ``moment``, in seconds since 1970."""
        for key, came in self._list(f"{QUARANTINE}/"):
            if came < moment:
                self.remove(key)

    def names(self) -> Iterator[tuple[str, float]]:
        """List the bucket, without what was set aside."""
        return (pair for pair in self._list("") if not pair[0].startswith(QUARANTINE))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _list(self, beginning: str) -> Iterator[tuple[str, float]]:
        more: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=self._key(beginning), **more)
            for entry in page.get("Contents", ()):
                yield entry["Key"].removeprefix(self._prefix), entry["LastModified"].timestamp()
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _key(self, location: str) -> str:
        return self._prefix + location

    def _call(self, name: str, **arguments: Any) -> Any:
        with _answering():
            return getattr(self._client, name)(Bucket=self._bucket, **arguments)


@contextmanager
def _answering() -> Iterator[None]:
    """Raise errors of boto3 as errors of the gateway."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
            raise Spoiled from error
        sentence = "The bucket of the study store does not answer; try again."
        raise Unavailable(sentence, private=type(error).__name__) from error
