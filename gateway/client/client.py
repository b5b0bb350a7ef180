"""``Client``: one gateway, reached over HTTP."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

import requests

from gateway.client import bundles, catalog, study_upload
from gateway.client.answer import Answer
from gateway.client.bundles import Moved
from gateway.client.catalog import Record, Verdict
from gateway.client.credentials import Credentials
from gateway.client.errors import beginning
from gateway.client.hashes import HashCache
from gateway.client.inference_requests import Inference, naming
from gateway.client.inference_run import InferenceRun
from gateway.client.interactive_session import InteractiveSession, SessionRequests
from gateway.client.local_files import Files
from gateway.client.result import InferenceCall, InferenceResult
from gateway.client.run_requests import RunRequests
from gateway.client.scanning import Scan
from gateway.client.sources import Study, headers_of, instances_of
from gateway.client.study_upload import CHUNK, PARALLEL, OnConflict, Reference, Uploaded, UploadOptions
from gateway.client.submitting import RunSubmitter, SubmitOptions
from gateway.client.transport import DEFAULT_RETRIES, DEFAULT_TIMEOUT, Transport, refused_before_work
from gateway.client.unreadable import Skipping
from gateway.client.upload_body import OnProgress, Source
from gateway.contract.requests import MODALITY

__all__ = ["DEFAULT_TIMEOUT", "Client"]

Output = Literal["json", "dicom"]


class Client:
    """A gateway at ``base_url``. Keeps connections open between requests; close it, or use it with ``with``.

    Any thread may use it. ``timeout`` is in seconds, for a silent server: it bounds each wait, not the whole request,
    and the server receives it as a deadline. ``token`` or ``api_key`` authenticate the caller; ``verify`` is a file of
    certificates to trust, ``cert`` the client's own, or that and its key. ``retries`` limits the retries of idempotent
    requests; inference is retried only by its own ``retries``. ``session`` configures proxies, for example; ``digest``
    names the server's digest algorithm, ``cache`` the folder of cached digests of files. All
    methods raise ClientError, and StudyRefused for files that are not a study.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float | None = None,
        session: requests.Session | None = None,
        digest: str = "sha256",
        token: str = "",
        api_key: str = "",
        verify: bool | str | Path = True,
        cert: str | Path | tuple[str | Path, str | Path] | None = None,
        retries: int = DEFAULT_RETRIES,
        cache: Path | None = None,
    ) -> None:
        access = Credentials(token, api_key, verify, cert)
        self._transport = Transport(base_url, timeout=timeout, session=session, access=access, retries=retries)
        self._inference = Inference(self._transport, digest)
        self._runs = RunSubmitter(RunRequests(self._transport), self._inference)
        self._cache = HashCache(cache)

    @property
    def base_url(self) -> str:
        """The URL of the gateway, without a slash at its end."""
        return self._transport.base_url

    @property
    def address(self) -> str:
        """Host and port, without the credentials in a URL."""
        return self._transport.address

    def infer(
        self,
        study: Study,
        route: str = "/",
        params: Mapping[str, Any] | None = None,
        *,
        output: Output = "json",
        attachments: Sequence[Source] = (),
        progress: OnProgress | None = None,
        timeout: float | None = None,
        retries: int = 0,
        skip_unreadable: bool = False,
    ) -> InferenceResult:
        """Run the model on ``route`` on a study, with its parameters; ``output="dicom"`` requests DICOM objects.

        Local files are sent, series by series in spatial order, ``attachments`` before them; an uploaded study is sent
        by reference. ``progress(sent, total)`` is in bytes. The server receives ``timeout`` (seconds) as the deadline.
        ``retries`` limits the retries after a 503 with Retry-After, when the model has not started. Raises
        StudyUnreadable for a file that looks like a part of the study and cannot be read; ``skip_unreadable`` leaves
        it out, and ``InferenceResult.skipped`` names it.
        """
        if isinstance(study, Mapping):
            raise TypeError("infer sends a study: send JSON and files of your own with Client.ask(json, files, route)")
        json = dict(params or {}) | ({"output": "dicom"} if output == "dicom" else {})
        skipping = Skipping(skip_unreadable)
        instances = instances_of(study, skipping)
        files = [instance.source for instance in instances]

        def once() -> Answer:
            if isinstance(study, Uploaded):
                local = [] if study.retained else files
                return self._inference.name(json | study.reference.words, route, local, timeout)
            if isinstance(study, Reference):
                return self._inference.name(json | study.words, route, timeout=timeout)
            return self._inference.send(json, files, route, progress, attachments, timeout)

        if attachments and isinstance(study, Uploaded | Reference):
            raise ValueError("attachments need the files of a study; leave them out for a study by reference")
        answer = self._transport.retried(once, retries=retries, when=refused_before_work)
        skipped = study.skipped if isinstance(study, Uploaded) else skipping.files
        return InferenceResult(answer, tuple(instances), InferenceCall(route, json, datetime.now(UTC)), skipped)

    def ask(
        self,
        json: dict[str, Any],
        files: Iterable[Source],
        route: str = "/",
        progress: OnProgress | None = None,
        *,
        attachments: Sequence[Source] = (),
    ) -> Answer:
        """Send a request of one's own: ``json``, ``attachments`` and the DICOM ``files`` in this order.

        Returns the checked answer. Paths are opened one after another as they are sent. ``progress(sent, total)`` is in
        bytes.
        """
        return self._inference.send(json, files, route, progress, attachments)

    def submit(
        self,
        study: Study | None,
        route: str = "/",
        params: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        webhook: str | None = None,
        output: Output = "json",
        attachments: Sequence[Source] = (),
        progress: OnProgress | None = None,
        timeout: float | None = None,
        skip_unreadable: bool = False,
    ) -> InferenceRun:
        """Submit a run, an inference that outlives the connection; returns once the gateway has stored its input.

        Arguments are those of ``infer``; without a study the request has JSON and attachments alone. ``id`` names the
        run: repeated with the same input it is the same run, which is executed once. A broken connection is repeated.
        ``webhook`` is a URL that receives the end of the run, where the gateway allows its origin. Raises as ``infer``,
        and Refused where ``id`` names a run with another input.
        """
        json = dict(params or {}) | ({"output": "dicom"} if output == "dicom" else {})
        options = SubmitOptions(
            route=route, id=id, webhook=webhook, attachments=attachments, timeout=timeout, progress=progress
        )
        return self._runs.submit(study, json, options, Skipping(skip_unreadable))

    def session(
        self,
        study: Study,
        route: str = "/",
        params: Mapping[str, Any] | None = None,
        *,
        output: Output = "json",
        attachments: Sequence[Source] = (),
        progress: OnProgress | None = None,
        timeout: float | None = None,
        skip_unreadable: bool = False,
    ) -> InteractiveSession:
        """Open a click session of an interactive model on a study: each click returns what it changes of the region.

        Arguments and errors are those of ``infer``; ``timeout`` bounds the model's time for each input. Use it with
        ``with``: a session that is not ended holds memory of the gateway until its idle time is over.
        """
        json = dict(params or {}) | ({"output": "dicom"} if output == "dicom" else {})
        options = SubmitOptions(route=route, attachments=attachments, timeout=timeout, progress=progress)
        body, given = self._runs.prepare(study, json, options, Skipping(skip_unreadable))
        sessions = SessionRequests(self._transport, self._inference)
        with naming([instance.source for instance in given.source]):
            record = sessions.open(route, body, timeout)
        return InteractiveSession(sessions, record, given)

    def run(self, id: str) -> InferenceRun:
        """Return the run with this id, of whichever client of this caller. Raises Refused for an unknown one."""
        return self._runs.existing(self._runs.requests.read(id))

    def runs(
        self, *, state: str = "", route: str = "", since: str = "", limit: int | None = None
    ) -> list[InferenceRun]:
        """Return the caller's runs, the newest first. ``since`` is a time of RFC 3339."""
        wanted = {"state": state, "route": route, "since": since}
        return list(map(self._runs.existing, self._runs.requests.list(wanted, limit)))

    def infer_path(self, json: dict[str, Any], study_path: str, route: str = "/") -> Answer:
        """Ask for a study that the server itself can read below its ``study_root``."""
        return self._inference.name(json | {"studyPath": study_path}, route)

    def upload(
        self,
        study: Files,
        *,
        on_conflict: OnConflict = "fail",
        progress: OnProgress | None = None,
        hashing: OnProgress | None = None,
        chunk: int = CHUNK,
        parallel: int = PARALLEL,
        skip_unreadable: bool = False,
    ) -> Uploaded:
        """Upload a study; only missing instances are sent, ``chunk`` in a request, ``parallel`` requests at once.

        ``progress`` and ``hashing`` are in bytes. Run again after a failure it sends only the rest. Raises Conflict
        where the gateway stores other bytes under a SOP Instance UID of the study, unless ``on_conflict`` chooses one;
        SourceUnreadable for a file that changes meanwhile; StudyUnreadable for one that looks like a part of the
        study and cannot be read, before anything is sent where its first bytes show it. ``skip_unreadable`` goes on
        without such files, and ``Uploaded.skipped`` names them.
        """
        pace = UploadOptions(chunk, parallel, progress)
        scan = Scan(study, self._cache, hashing, Skipping(skip_unreadable))
        return study_upload.upload(self._transport, scan, self._cache, on_conflict, pace)

    def studies(self) -> list[Record]:
        """Return the studies that the gateway stores for this caller."""
        return list(catalog.pages(self._transport, "/studies", "studies", {}))

    def forget(self, study_instance_uid: str) -> Record:
        """Delete a study and its results on the gateway; return what was deleted."""
        return catalog.forget(self._transport, study_instance_uid)

    def results(
        self,
        *,
        study: str = "",
        series: str = "",
        model: str = "",
        version: str = "",
        since: str = "",
        until: str = "",
        limit: int | None = None,
    ) -> list[Record]:
        """Return stored results, the newest first. ``since`` and ``until`` are times of RFC 3339."""
        wanted = {"study": study, "series": series, "model": model, "version": version, "since": since, "until": until}
        return list(catalog.pages(self._transport, "/results", "results", wanted, limit))

    def result(self, result_id: str) -> Answer:
        """Return a stored answer, byte for byte."""
        return self._inference.kept(f"/results/{catalog.safe(result_id)}")

    def preflight(
        self, study: Study, models: Sequence[str] = (), *, modality: str = "", skip_unreadable: bool = False
    ) -> list[Verdict]:
        """Check which models (routes; by default all typed ones) accept a study. Only headers are sent.

        ``modality`` is that of NIfTI files, which do not state it.

        Raises StudyUnreadable, and leaves out such files with ``skip_unreadable``, as ``infer`` does.
        """
        request: dict[str, Any] = {"models": list(models)} if models else {}
        request |= {MODALITY: modality} if modality else {}
        if isinstance(study, Uploaded | Reference):
            reference = study.reference if isinstance(study, Uploaded) else study
            return catalog.preflight(self._transport, request | reference.words, None)
        return catalog.preflight(self._transport, request, headers_of(study, Skipping(skip_unreadable)))

    def push_bundle(self, name: str, folder: str | Path, *, progress: OnProgress | None = None) -> Moved:
        """Make the bundle ``name`` equal to ``folder``; only what differs is sent. ``progress`` is in bytes."""
        return bundles.push(self._transport, name, Path(folder), self._cache, progress)

    def pull_bundle(self, name: str, folder: str | Path, *, progress: OnProgress | None = None) -> Moved:
        """Download a bundle below ``folder``; only what differs is sent, and is checked before it is renamed.

        Other files in the folder stay. Raises AnswerCorrupt for an unsafe key, or bytes of another digest.
        """
        return bundles.pull(self._transport, name, Path(folder), self._cache, progress)

    def description(self, *, timeout: float | None = None) -> Record:
        """Return the OpenAPI description of the gateway: its models, and the parameters of each."""
        return catalog.description(self._transport, timeout)

    def ping(self) -> str:
        """Return the text of ``GET /ping``: the server accepts connections."""
        return self._text("/ping")

    def health(self) -> str:
        """Return the text of ``GET /healthcheck``: ``READY``, or another word while the models are not ready."""
        return self._text("/healthcheck")

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _text(self, route: str) -> str:
        with self._transport.response("GET", route) as response:
            return beginning(response).decode("utf-8", "replace").strip()
