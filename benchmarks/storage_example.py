"""pynetdicom's storage example: each data set is written to a file, hashed and made to last before its Success."""

import hashlib
import os
import sys
from pathlib import Path

from pynetdicom import AE, AllStoragePresentationContexts, _config, evt

_config.LOG_HANDLER_LEVEL = "none"


def main() -> None:
    """Serve on a port, into a folder."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])

    def store(event: evt.Event) -> int:
        data = event.encoded_dataset()
        with (folder / f"{event.file_meta.MediaStorageSOPInstanceUID}.dcm").open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        hashlib.sha256(data).hexdigest()
        return 0

    entity = AE("EXAMPLE")
    entity.maximum_pdu_size = 131_072
    entity.supported_contexts = AllStoragePresentationContexts
    entity.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, store)])


if __name__ == "__main__":
    main()
