"""Checks of settings: unreadable and unknown variables, and values that contradict each other."""

import stat
from collections.abc import Iterator, Mapping
from dataclasses import fields

from gateway.access.listeners import is_loopback
from gateway.config import PREFIX, SERVICE_LINK, Settings, unknown_variables
from gateway.doctor.diagnoses import Diagnosis, Level
from gateway.doctor.plan import SERVING, Plan, faults, misread

KNOWN = {f"{PREFIX}{field.name.upper()}" for field in fields(Settings)}
NEVER_ZERO = (
    "max_body_bytes",
    "max_bytes_in_flight",
    "max_parts",
    "max_json_bytes",
    "max_part_header_bytes",
    "max_decoded_bytes",
)
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def settings(environ: Mapping[str, str]) -> Diagnosis:
    """Check that each variable of ``serve`` can be read; invalid ones are named, without their values."""
    bad = [sentence for name in SERVING if environ.get(name) and (sentence := misread(name, environ[name]))]
    bad += faults(environ).values()
    if not bad:
        try:
            Settings.from_environment(environ)
        except ValueError as error:
            bad = [str(error)]
    if bad:
        return Diagnosis("settings", Level.FAIL, " ".join(bad), "Correct it, or unset it and take the default.")
    count = sum(name in KNOWN for name in environ)
    return Diagnosis("settings", Level.OK, f"{count or 'No'} {PREFIX}* variables are set, and all can be read.")


def unknown(plan: Plan, environ: Mapping[str, str]) -> Diagnosis:
    """Check for ``GATEWAY_*`` variables that nothing reads: beyond loopback, ``serve`` refuses them."""
    if strange := unknown_variables(environ):
        text = ", ".join(f"{name}{f' (near: {near})' if near else ''}" for name, near in strange.items())
        level = Level.WARN if is_loopback(plan.host) else Level.FAIL
        return Diagnosis("variables", level, f"Nothing reads {text}.", "Correct the name, or unset it.")
    if links := [name for name in environ if SERVICE_LINK.fullmatch(name)]:
        remedy = "enableServiceLinks: false in the pod's specification leaves them out."
        return Diagnosis("variables", Level.NOTE, f"{len(links)} are Kubernetes' links to a Service.", remedy)
    return Diagnosis("variables", Level.OK, f"No unknown {PREFIX}* variable.")


def threads(plan: Plan) -> Diagnosis:
    """Check that threads are left for probes and for inference; gunicorn's worker refuses to start without either."""
    reserved = plan.settings.reserved_threads
    text = f"{plan.workers} x {plan.threads}, of which {reserved} are reserved for probes"
    if not 0 < reserved < plan.threads:
        remedy = f"THREADS={max(1, reserved) + 1} or more, and GATEWAY_RESERVED_THREADS=1 or more."
        return Diagnosis("threads", Level.FAIL, f"{text}: no thread is left for probes or for inference.", remedy)
    return Diagnosis("threads", Level.OK, f"{text}.")


def timeouts(plan: Plan) -> Diagnosis:
    """Check that each timeout leaves room for those within it."""
    conflicts = [
        f"{first} ({early:g} s) is longer than {second} ({late:g} s)."
        for first, early, second, late in _times(plan)
        if early > late
    ]
    if conflicts:
        return Diagnosis("timeouts", Level.WARN, " ".join(conflicts), "Shorten the first, or lengthen the second.")
    return Diagnosis("timeouts", Level.OK, f"{plan.settings.request_timeout:g} s for a request; a stop waits for it.")


def _times(plan: Plan) -> Iterator[tuple[str, float, str, float]]:
    """Yield pairs of names and seconds, of which the first should not be longer than the second."""
    own = plan.settings
    stop = own.drain_delay + own.request_timeout
    yield "drain_delay + request_timeout", stop, "graceful_timeout", plan.graceful_timeout
    yield "request_timeout", own.request_timeout, "gunicorn's timeout", plan.timeout
    for name in ("head_timeout", "read_timeout", "rate_grace", "cancel_grace"):
        yield name, getattr(own, name), "request_timeout", own.request_timeout
    yield "jwks_min_interval", own.jwks_min_interval, "jwks_max_age", own.jwks_max_age


def limits(own: Settings) -> Diagnosis:
    """Check that the limits admit requests, and the largest one too."""
    if zero := [name for name in NEVER_ZERO if not getattr(own, name)]:
        remedy = "Unset it, and take the default."
        return Diagnosis("limits", Level.FAIL, f"{', '.join(zero)}: 0 refuses every request.", remedy)
    conflicts = []
    if own.max_body_bytes > own.max_bytes_in_flight:
        conflicts.append("max_bytes_in_flight is less than max_body_bytes: the largest requests are always refused.")
    if own.max_json_bytes > own.max_body_bytes:
        conflicts.append("max_json_bytes is more than max_body_bytes, and never applies.")
    if conflicts:
        return Diagnosis("limits", Level.WARN, " ".join(conflicts), "Change one of the two.")
    return Diagnosis("limits", Level.OK, "The largest request passes them all.")


def audit(own: Settings) -> Diagnosis:
    """Check that the settings of the audit agree, and that its key is valid."""
    from gateway.observe.audit.auditor import check

    try:
        check(own)
    except ValueError as error:
        return Diagnosis("audit", Level.FAIL, str(error), "Correct the settings of the audit, or unset them.")
    text = "Each request leaves a record." if own.audit_file else "No record is written."
    return Diagnosis("audit", Level.OK, text)


def runs(own: Settings) -> Diagnosis:
    """Tell whether runs are on, and when those of a dead process move on."""
    if own.store_folder is None:
        return Diagnosis("runs", Level.OK, "Off: they need store_folder.")
    if not own.run_concurrency:
        return Diagnosis("runs", Level.NOTE, "Taken, and left to other servers: run_concurrency is 0.")
    text = f"{own.run_concurrency} at once in a worker; those of a dead process move on after {own.run_lease:g} s."
    return Diagnosis("runs", Level.OK, text)


def webhooks(own: Settings) -> Diagnosis:
    """Check that each origin of webhooks has a secret in a private file."""
    if not own.webhook_origins:
        return Diagnosis("webhooks", Level.OK, "Off: no origin is allowed.")
    try:
        from gateway.delivery.webhooks import reporter_of  # SQLAlchemy, which may be missing

        reporter = reporter_of(own)
    except (ValueError, ImportError) as error:
        return Diagnosis("webhooks", Level.FAIL, str(error), "Correct the settings of webhooks, or unset them.")
    if own.store_folder is None:
        remedy = "Set GATEWAY_STORE_FOLDER, or unset GATEWAY_WEBHOOK_ORIGINS."
        return Diagnosis("webhooks", Level.WARN, "There are no runs to report: they need store_folder.", remedy)
    return Diagnosis("webhooks", Level.OK, f"To {len(reporter.allowed if reporter else ())} allowed origins.")


def callers(plan: Plan) -> Diagnosis:
    """Check that callers are authenticated where other machines reach the server."""
    from gateway.endpoints.access_control import AccessControl  # Flask, which may be missing

    try:
        authenticator = AccessControl(plan.settings).authenticator
        authenticator.check()
    except (ValueError, ImportError) as error:
        return Diagnosis("callers", Level.FAIL, str(error), "Correct the settings of access, or unset them.")
    file = plan.settings.api_keys_file
    if file and file.stat().st_mode & WRITABLE_BY_OTHERS:
        text = "Users other than its owner may write the file of callers."
        return Diagnosis("callers", Level.WARN, text, f"chmod 600 {file}")
    if authenticator.on:
        return Diagnosis("callers", Level.OK, "Each needs a key, a token or a certificate.")
    if is_loopback(plan.host):
        return Diagnosis("callers", Level.OK, f"No authentication: only this machine reaches {plan.host}.")
    if plan.settings.allow_anonymous:
        text = f"Every client that reaches {plan.host} is served, without authentication."
        return Diagnosis("callers", Level.WARN, text, "Put authentication in front of it.")
    remedy = "Set GATEWAY_API_KEYS_FILE or GATEWAY_JWT_JWKS, or GATEWAY_ALLOW_ANONYMOUS=1 to serve everyone."
    text = f"serve refuses to listen on {plan.host} without authentication."
    return Diagnosis("callers", Level.FAIL, text, remedy)
