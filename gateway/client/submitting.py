"""Submission of runs: the bytes of a study or a reference to it, repeated until the gateway has confirmed them."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.client.inference_requests import Inference, encoded, naming
from gateway.client.inference_run import InferenceRun, RunInput
from gateway.client.run_requests import MakeBody, RunRequests
from gateway.client.sources import Study, instances_of
from gateway.client.study_upload import Reference, Uploaded
from gateway.client.unreadable import Skipping
from gateway.client.upload_body import OnProgress, Source, UploadBody


@dataclass(frozen=True, kw_only=True)
class SubmitOptions:
    """Options of a submission beside the study and the JSON; see ``Client.submit``."""

    route: str = "/"
    id: str | None = None
    webhook: str | None = None
    attachments: Sequence[Source] = ()
    timeout: float | None = None
    progress: OnProgress | None = None


@dataclass(frozen=True)
class RunSubmitter:
    """Submits runs, and returns those that exist."""

    requests: RunRequests
    inference: Inference

    def submit(
        self, study: Study | None, json: Mapping[str, Any], options: SubmitOptions, skipping: Skipping
    ) -> InferenceRun:
        """Submit a run on a study, or with JSON and attachments alone."""
        body, given = self.prepare(study, json, options, skipping)
        id = options.id or secrets.token_hex(16)
        with naming([instance.source for instance in given.source]):
            record = self.requests.submit(id, options.route, body, options.webhook or "", options.timeout)
        return InferenceRun(self.requests, self.inference, record, given)

    def existing(self, record: dict[str, Any]) -> InferenceRun:
        """Return a run that the gateway described."""
        return InferenceRun(self.requests, self.inference, record, RunInput())

    def prepare(
        self, study: Study | None, json: Mapping[str, Any], options: SubmitOptions, skipping: Skipping
    ) -> tuple[MakeBody, RunInput]:
        """Return what makes the body of a request, and what that holds."""
        instances = () if study is None else tuple(instances_of(study, skipping))
        given = RunInput(instances, json, skipping.files)
        if isinstance(study, Uploaded | Reference):
            return self._by_reference(study, json, options, given)
        return self._with_files(json, options, given)

    def _with_files(
        self, json: Mapping[str, Any], options: SubmitOptions, given: RunInput
    ) -> tuple[MakeBody, RunInput]:
        sent: list[UploadBody] = []
        files = [instance.source for instance in given.source]

        def body() -> dict[str, Any]:
            sent.append(self.inference.body(json, files, options.progress, options.attachments))
            return {"data": sent[-1], "headers": {"Content-Type": sent[-1].content_type}}

        return body, replace(given, digest=lambda: sent[-1].input_digest)

    def _by_reference(
        self, study: Uploaded | Reference, json: Mapping[str, Any], options: SubmitOptions, given: RunInput
    ) -> tuple[MakeBody, RunInput]:
        if options.attachments:
            raise ValueError("attachments need the files of a study; leave them out for a study by reference")
        reference = study.reference if isinstance(study, Uploaded) else study
        words = dict(json) | reference.words
        made = {"data": encoded(words), "headers": {"Content-Type": "application/json"}}
        if isinstance(study, Uploaded):
            given = replace(given, skipped=study.skipped)
            if not study.retained:
                files = [instance.source for instance in given.source]
                given = replace(given, digest=lambda: self.inference.digest(words, files))
        return lambda: dict(made), given
