"""Settings: frozen, from keyword arguments and ``GATEWAY_*`` variables; every limit with its unit and its reason."""

import difflib
import math
import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
DEFAULT_PORT = 8900
"""The port that ``serve`` binds and ``send`` calls, as the predecessor's test tool did."""

LOG_FORMATS = ("text", "json")
SHORTEST_LEASE = 2.0
"""Seconds: a process that executes a run looks at it once a second, and must find its lease in time."""
PREFIX = "GATEWAY_"
OTHERS = re.compile(r"GATEWAY_(TOKEN|API_KEY|OHIF|TEST_\w+)")
"""Variables of the client, and of tests."""
SERVICE_LINK = re.compile(r"GATEWAY_(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
"""Variables that Kubernetes sets for a Service whose name begins with ``gateway``, like Docker's links."""


def _setting(default: Any, why: str) -> Any:
    return field(default=default, metadata={"why": why})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of an operator. Each is also read from ``GATEWAY_<NAME>``; a keyword argument wins."""

    max_body_bytes: int = _setting(8 * GiB, "bytes of one request; a 4,000-slice CT of 512 x 512 is 2 GiB")
    max_bytes_in_flight: int = _setting(16 * GiB, "bytes of all requests in one process; two of the largest")
    max_parts: int = _setting(20_000, "parts of one request; five times a 4,000-slice study")
    max_part_header_bytes: int = _setting(16 * KiB, "bytes of one part's header; nginx and Apache allow 8 KiB a line")
    max_part_headers: int = _setting(32, "header fields of one part; clients send two or three")
    max_json_bytes: int = _setting(16 * MiB, "bytes of the JSON part; it carries options, not pixels")
    max_json_values: int = _setting(
        250_000, "values and containers of that JSON, which are read at once; twice a manifest of max_parts instances"
    )
    max_decoded_bytes: int = _setting(
        16 * GiB,
        "bytes that the files of one request may unfold to, such as a volume of 8 GiB and its stored values;"
        " for a small request it is 1 GiB and 100 times its own bytes",
    )
    study_root: Path | None = _setting(None, "folder below which a studyPath may lie; unset refuses every studyPath")
    max_study_files: int = _setting(20_000, "files below one studyPath, as many as parts in one request")
    spool_threshold: int = _setting(
        256 * MiB, "bytes of one request held in memory, about 500 CT slices; more go to an unnamed file"
    )
    spool_folder: Path | None = _setting(None, "folder of those files; unset takes the system's temporary folder")
    reserved_threads: int = _setting(2, "threads of a worker that no inference takes: for refusals, lists and pages")
    spare_threads: int = _setting(
        64, "threads more of a worker while as many wait for slow clients; each costs some 100 KiB"
    )
    reserved_files: int = _setting(
        256, "open files of a worker that no connection takes; sixteen for each of 16 threads"
    )
    head_timeout: float = _setting(10.0, "seconds from connecting to the end of a request's head; Apache allows 20")
    read_timeout: float = _setting(30.0, "seconds between two pieces of a body or of an answer; nginx allows 60")
    min_rate: int = _setting(
        16 * KiB, "bytes per second that a client must move while waited for; ADSL has ten times it"
    )
    rate_grace: float = _setting(10.0, "seconds of waiting before the minimum rate is held against a client")
    model_processes: int = _setting(
        0, "processes for each model, shared by all HTTP workers; 0 runs it inside each worker"
    )
    devices: str = _setting(
        "", "devices of model processes: cuda:0,cuda:1, auto or none; unset, a model has one where it declares so"
    )
    ray: str = _setting(
        "", "Ray cluster in which models run, host:port, auto or local; unset runs them in processes of this machine"
    )
    max_model_processes: int = _setting(
        0,
        "replicas of each model in a Ray cluster while calls are pending, at most; no more than model_processes for 0",
    )
    ray_working_dir: Path | None = _setting(
        None, "folder with the application's code that Ray copies to its nodes; unset, their image has it"
    )
    ray_bundles: str = _setting(
        "", "bundles of the store that each node gets before its models load, as name=/folder, name=~/folder, ..."
    )
    spare_memory: int = _setting(
        96 * MiB, "bytes of requests to model processes whose memory a worker keeps for the next; two CT series"
    )
    decode_processes: int = _setting(
        4, "processes of each worker and model process in which codecs run, never more than cores; 0 runs them inside"
    )
    decode_memory: int = _setting(
        2 * GiB, "bytes of address space of such a process; a mammogram in JPEG 2000 takes a quarter"
    )
    decode_seconds: float = _setting(
        0.5, "seconds of CPU for one frame, beside those by its size; a CT slice takes 0.05"
    )
    decode_rate: int = _setting(
        2 * MiB, "bytes of decoded pixels for each further second of CPU; JPEG 2000 decodes five times as many"
    )
    request_timeout: float = _setting(
        600.0, "seconds from a request's head to its answer, at most; X-Request-Timeout asks for less"
    )
    cancel_grace: float = _setting(
        10.0, "seconds for a model to notice that its time is over, before it counts as hung"
    )
    max_queue: int = _setting(32, "requests that wait for one model; at a second each, the last waits half a minute")
    concurrency: int = _setting(0, "requests that one model answers at once inside a worker; 0 for no limit")
    breaker_cooldown: float = _setting(30.0, "seconds that a model rests after its process died three times in a row")
    drain_delay: int = _setting(0, "seconds between saying not ready and refusing connections, when the server stops")
    watchers: int = _setting(
        1_000, "answers of one worker that wait for news of a run, without a thread; half of its connections at most"
    )
    caller_watchers: int = _setting(
        200, "of those for one caller with a name: five callers have room at once; 0 for no bound"
    )
    run_wait: float = _setting(
        50.0, "seconds that an answer waits for a run, at most; nginx ends a silent response after 60"
    )
    store_folder: Path | None = _setting(None, "folder of the study store; unset: no store, and no such routes")
    store_bucket: str = _setting(
        "", "S3 bucket, or bucket/prefix, for the store's bytes (extra s3); unset keeps them in the folder"
    )
    store_max_bytes: int = _setting(
        64 * GiB, "bytes of instances and results together; about 900 CT series of 140 slices"
    )
    store_caller_bytes: int = _setting(
        4 * GiB,
        "bytes of one caller that no other displaces, fewer where more callers share the store; 60 CT series",
    )
    store_max_age: float = _setting(2_592_000.0, "seconds that an instance or a result is stored, used or not; 30 days")
    store_fsync: bool = _setting(
        False, "wait for the disk at each stored file; a file that a power cut spoils is found when it is read"
    )
    ui: str = _setting(
        "loopback", "serve the page below /ui: loopback (where only this machine reaches the server), on, or off"
    )
    ui_login: float = _setting(28_800.0, "seconds that a login at /ui lasts; a shift of eight hours")
    ui_secret_file: Path | None = _setting(
        None,
        "file of 32 random bytes or more that signs logins at /ui, the same on hosts behind one address; unset: each"
        " server makes its own at its start",
    )
    ohif_url: str = _setting("", "URL of OHIF as browsers reach it, for the links of finished runs; unset: no links")
    oip: bool = _setting(True, "serve the Open Inference Protocol v2 below /v2, for Triton's and KServe's clients")
    monai: bool = _setting(False, "serve MONAI Label's API below /monai, for 3D Slicer's module and its Python client")
    monai_session_idle: float = _setting(
        3600.0, "seconds without a request after which an image that was sent to /monai/session goes; as MONAI Label's"
    )
    dapr_app_id: str = _setting(
        "", "name of this gateway for Dapr's clients, which call its routes below /v1.0/invoke; unset: no such routes"
    )
    dicomweb: bool = _setting(
        False, "serve DICOMweb on the study store below /dicomweb, and keep a table of patients' names for its queries"
    )
    dicomweb_url: str = _setting(
        "", "URL of /dicomweb as clients reach it, in addresses of instances; unset takes the Host of each request"
    )
    dimse_titles_file: Path | None = _setting(
        None, "file of the AE titles that may associate (TOML), read again when it changes; needed by `dimse`"
    )
    dimse_associations: int = _setting(64, "associations at once; each has a thread and a buffer of dimse_max_pdu")
    dimse_title_associations: int = _setting(16, "associations of one AE title at once; a modality opens one or two")
    dimse_max_pdu: int = _setting(131_072, "bytes of a PDU that is received; the most that dcmtk sends")
    dimse_idle: float = _setting(60.0, "seconds that an association may be silent between two messages")
    database_url: str = _setting(
        "", "SQLAlchemy URL of the store's index, such as postgresql://host/name; unset is SQLite in the folder"
    )
    max_bundle_bytes: int = _setting(
        8 * GiB, "bytes of one bundle; the weights of the largest imaging models take 5 GiB"
    )
    max_bundle_files: int = _setting(1_000, "files of one bundle; an ensemble of five folds has some dozens")
    run_ttl: float = _setting(604_800.0, "seconds that a run is stored after its end; 7 days")
    run_attempts: int = _setting(3, "executions of a run whose process died; a study that kills its model ends there")
    run_peer_wait: float = _setting(
        86_400.0,
        "seconds since its submission for which a run waits for a peer that cannot be reached, or is too slow; then it"
        " fails: a PACS is repaired within a day",
    )
    run_lease: float = _setting(
        30.0,
        "seconds after which a run, delivery or webhook of a dead process moves on; it is renewed three times in them",
    )
    run_questions: int = _setting(
        1_000, "questions that the model of one run may ask; each is stored, and asked again after a crash"
    )
    max_waiting_runs: int = _setting(
        2, "runs of one worker whose model waits in place for its caller; those that have waited longest are parked"
    )
    run_park: float = _setting(
        60.0, "seconds that a model waits in place for its caller; then it ends, and begins again with the answer"
    )
    run_concurrency: int = _setting(4, "runs that one worker executes at once, beside its requests")
    run_caller_max: int = _setting(10_000, "runs stored for one caller; above it the oldest that has ended goes")
    sessions: int = _setting(
        16, "click sessions of one worker at once; each holds its study and what it unfolds to; 0 opens none"
    )
    session_caller_max: int = _setting(4, "click sessions of one caller at once in one worker; a person has one or two")
    session_max_bytes: int = _setting(
        4 * GiB, "bytes of the studies of one worker's click sessions, and of what they unfold to inside it"
    )
    session_idle: float = _setting(600.0, "seconds without an input after which a click session ends; a phone call")
    session_silence: float = _setting(
        10.0,
        "seconds without a sign of life of the worker that has a session, after which another one that forwards a"
        " request to it answers 503; a worker that works gives four of them in this time, however long its model takes",
    )
    session_life: float = _setting(28_800.0, "seconds of one click session at most, however busy; a working day")
    nninteractive: str = _setting(
        "",
        "route of the interactive model that nnInteractive's clients click on below /nninteractive, such as"
        " /region-growing; unset: no such routes",
    )
    nninteractive_modality: str = _setting(
        "", "modality of the images of those clients, which do not state it, such as CT; unset states none"
    )
    webhook_origins: str = _setting(
        "", "origins that webhooks may go to, with commas between, private addresses too; unset sends none"
    )
    webhook_secrets_file: Path | None = _setting(
        None, "file of an origin and its secret on each line, for its owner alone; `webhooks secret` adds one"
    )
    webhook_tries: int = _setting(16, "tries to deliver a webhook; with the pauses a receiver may be away for two days")
    webhook_longest_pause: float = _setting(21_600.0, "seconds between two tries at most; 6 hours")
    wasm_memory: int = _setting(
        512 * MiB, "bytes of memory of one call of a WASM function; a mammogram of 60 MB has room eight times"
    )
    wasm_output: int = _setting(
        256 * MiB, "bytes that one call of a WASM function may answer; such a mammogram in colour takes 180 MB"
    )
    wasm_seconds: float = _setting(30.0, "seconds of one call of a WASM function; an image of 1 MP takes 0.02")
    wasm_module: int = _setting(
        32 * MiB, "bytes of a WASM function's file; a Python interpreter in one has 25 MB, and compiles for a minute"
    )
    wasm_cache: Path | None = _setting(
        None, "folder of compiled WASM functions, for its owner alone; unset compiles them at each start"
    )
    peers: Path | None = _setting(
        None, "TOML file of the systems that the gateway fetches studies from and sends them to; unset calls none"
    )
    routing: Path | None = _setting(
        None, "TOML file of the rules that send complete studies to models and results to peers; unset routes nothing"
    )
    delivery_tries: int = _setting(
        300, "tries to deliver a result to a peer; with the pauses a PACS may be away for three days"
    )
    delivery_longest_pause: float = _setting(
        900.0, "seconds between two tries at most; a quarter of an hour after a PACS is back its results are there"
    )
    allow_anonymous: bool = _setting(
        False, "let `serve`, and a study store, admit callers without a name beyond this machine"
    )
    api_keys_file: Path | None = _setting(
        None, "file of callers, keys by their digests and certificates by their subjects; `keys add` writes it"
    )
    backendai_keys: Path | None = _setting(
        None, "file of key pairs, which turns on Backend.AI's API below /backendai; `key-pairs add` writes it"
    )
    backendai_session_ttl: float = _setting(
        86_400.0, "seconds that an unused session of that API is stored, with its files; a day"
    )
    jwt_jwks: str = _setting(
        "", "https URL or file with the issuer's public keys (JWKS, RFC 7517); unset takes no tokens"
    )
    jwt_issuer: str = _setting("", "iss that a token must have, letter by letter")
    jwt_audience: str = _setting("", "aud that a token must have: this gateway's name at the issuer")
    jwt_algorithms: str = _setting(
        "RS256", "signature algorithms that are taken, with commas between; public-key ones only"
    )
    jwt_roles_claim: str = _setting("roles", "claim with a token's roles, a list or words; dots lead into objects")
    jwt_routes_claim: str = _setting(
        "", "claim with the routes that a token is for, found like jwt_roles_claim; unset, tokens are for all routes"
    )
    jwt_leeway: float = _setting(30.0, "seconds that the issuer's clock may differ from this one")
    jwks_max_age: float = _setting(
        3600.0, "seconds for which the issuer's keys are trusted; fetched again after half of it"
    )
    jwks_min_interval: float = _setting(
        30.0, "seconds between two fetches of them, however many unknown keys are named"
    )
    caller_rate: int = _setting(
        0, "requests per minute of one caller, on all workers of a host together; 0 for no bound"
    )
    caller_burst: int = _setting(10, "requests that a caller may send at once before its rate is held against it")
    caller_concurrency: int = _setting(
        0, "requests of one caller at work at once, on all workers of a host; 0 for no bound"
    )
    caller_hosts: int = _setting(
        1,
        "hosts behind one address: they share caller_rate and caller_burst in PostgreSQL; without it, and of"
        " caller_concurrency, each grants its part",
    )
    allowed_hosts: str = _setting(
        "",
        "names in Host beside localhost and addresses, with commas between, or *; where callers need no credential",
    )
    cors_origins: str = _setting(
        "", "origins whose pages may ask from a browser, with commas between; unset allows none"
    )
    expose_docs: str = _setting(
        "authenticated", "who sees /, /docs and /openapi.json: anyone, authenticated (callers with access) or off"
    )
    expose_metrics: str = _setting(
        "authenticated", "who sees /metrics: anyone, authenticated (callers with access) or off"
    )
    digest: str = _setting("sha256", "sha256, or blake3 (extra) where both ends are yours")
    strict: bool = _setting(True, "refuse an answer whose content breaks the protocol; false logs a warning instead")
    log_format: str = _setting("text", "text, or json: one object a line, with a request's tags as its members")
    log_exception_text: bool = _setting(False, "log messages of exceptions; they can hold a patient's name")
    core_dumps: bool = _setting(False, "let a process that crashes leave its memory on disk; it holds studies")
    audit_file: Path | None = _setting(None, "file of the audit's chain of records; unset writes no audit")
    audit_key_file: Path | None = _setting(
        None, "key that signs records and receipts, made where absent; unset takes audit_file with .key behind it"
    )
    audit_fsync: bool = _setting(False, "wait for the disk at each record: some ms, and safe from a power cut")
    audit_required: bool = _setting(False, "refuse requests with 503 while their records cannot be written")
    audit_s3: str = _setting("", "bucket, or bucket/prefix, that gets a copy of each record (extra s3)")
    audit_sql: str = _setting(
        "", "URL of a database that gets a copy of each record (extra sql), as SQLAlchemy reads it"
    )
    audit_messages: Path | None = _setting(
        None, "file that gets each record of DICOM as an audit message in XML (PS3.15 A.5), one a line"
    )
    audit_uids: bool = _setting(
        False, "write UIDs of studies into records of DICOMweb, beside their digests; they can lead to a patient"
    )
    audit_queue: int = _setting(10_000, "records that wait for each place that is slow or away, about 20 MB")

    def __post_init__(self) -> None:
        """Make relative paths absolute, since a model may change the working folder.

        Raises ValueError naming a limit that is negative, a time that is no time, or a word that is none of ours.
        """
        for f in fields(self):
            value = getattr(self, f.name)
            if (placed := _placed(f.name, value)) != value:
                object.__setattr__(self, f.name, placed)
            if (f.type is int and value < 0) or (f.type is float and not (value > 0 and math.isfinite(value))):
                raise ValueError(_should(f.name, "0 or more" if f.type is int else "seconds above 0", f.default))
        if (self.ray or self.devices) and not self.model_processes:
            object.__setattr__(self, "model_processes", 1)  # one replica of each model, where no number is given
        if self.run_lease < SHORTEST_LEASE:
            raise ValueError(_should("run_lease", f"at least {SHORTEST_LEASE:g} seconds", Settings.run_lease))
        if self.ohif_url and not self.ohif_url.startswith(("http://", "https://")):
            raise ValueError(_should("ohif_url", "a URL", "http://127.0.0.1:8901"))
        if self.log_format not in LOG_FORMATS:
            raise ValueError(_should("log_format", " or ".join(LOG_FORMATS), LOG_FORMATS[0]))

    def __repr__(self) -> str:
        """Return the names of the settings that are not at their defaults; values may be secrets."""
        changed = [each.name for each in fields(self) if getattr(self, each.name) != each.default]
        return f"<Settings, {', '.join(changed[:5]) or 'all defaults'}{' ...' if len(changed) > 5 else ''}>"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Self:
        """Read ``GATEWAY_*`` variables; ``given`` keyword arguments win. Raises ValueError naming a bad variable."""
        environ = os.environ if environ is None else environ
        found = {
            f.name: _read(f.name, f.type, environ[name], f.default)
            for f in fields(cls)
            if (name := f"GATEWAY_{f.name.upper()}") in environ and f.name not in given
        }
        return cls(**found, **given)


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return each ``GATEWAY_*`` variable that nothing reads, with the nearest one that is read, "" without one."""
    known = [f.name.upper() for f in fields(Settings)]
    unknown = {}
    for name in sorted(environ):
        stem = name.removeprefix(PREFIX)
        if stem != name and stem not in known and not OTHERS.fullmatch(name) and not SERVICE_LINK.fullmatch(name):
            near = difflib.get_close_matches(stem, known, n=1)
            unknown[name] = f"{PREFIX}{near[0]}" if near else ""
    return unknown


def place_paths(environ: MutableMapping[str, str]) -> None:
    """Make the relative paths of ``GATEWAY_*`` variables absolute, for processes whose working folder changes."""
    settings = Settings.from_environment(environ)
    for name in (f.name for f in fields(Settings)):
        value, variable = getattr(settings, name), f"GATEWAY_{name.upper()}"
        if environ.get(variable) and (isinstance(value, Path) or name in URLS):
            environ[variable] = str(value)


def _placed(name: str, value: Any) -> Any:
    if isinstance(value, Path):
        return value.absolute()
    if name not in URLS or not value:
        return value
    if (match := SQLITE_FILE.fullmatch(value)) is not None:
        return match[1] + str(Path(match[2]).absolute()) + match[3]
    return value if ":" in value else str(Path(value).absolute())


URLS = ("jwt_jwks", "database_url", "audit_sql")
"""Settings that are a URL, or name a file in its place."""
SQLITE_FILE = re.compile(r"(sqlite(?:\+\w+)?:///)((?!file:)[^/:?][^?]*)(.*)")
"""SQLAlchemy's URL of a file by a relative path; an absolute one has a slash more, and ``:memory:`` a colon."""
_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _read(name: str, kind: Any, text: str, default: Any) -> Any:
    try:
        if kind is bool:
            return _WORDS[text.strip().lower()]
        if kind in (int, float):
            return kind(text)
        return text if kind is str else Path(text) if text else None
    except (KeyError, ValueError):
        words = {bool: "true or false", int: "a whole number", float: "a number"}
        raise ValueError(_should(name, words[kind], default)) from None


def _should(name: str, be: str, default: Any) -> str:
    return f"{name} (GATEWAY_{name.upper()}) should be {be}, such as {str(default).lower()}."
