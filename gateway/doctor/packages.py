"""Checks of installed packages against the requirements of the gateway and its extras."""

import sys
from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path

import gateway
from gateway.config import Settings
from gateway.doctor.diagnoses import Diagnosis, Level

DISTRIBUTION = "inference-gateway"
SHOWN = ("Flask", "gunicorn", "numpy", "pydicom", "pydantic")
FOR_DEVELOPERS = {"test", "dev"}
PURPOSES = {
    "gdcm": "JPEG Lossless",
    "itk": "jobs of grand-challenge",
    "nifti": "volumes as NIfTI",
    "nninteractive": "nnInteractive's client",
    "s3": "audits and studies in S3",
    "sql": "audits in a database",
    "store": "the study store",
    "dimse": "the DICOM network",
    "backendai": "Backend.AI's API",
    "wasm": "WASM functions",
    "ray": "models in a Ray cluster",
    "blake3": "digest=blake3",
    "otel": "traces",
    "oidc": "tokens",
    "models": "the example models",
    "compat": "services of the inference-sdk",
}
"""The purpose of each extra."""
DRIVER = "psycopg"
"""The driver of PostgreSQL: an index or an audit in SQLite does without."""
S3_BUCKET = "S3_AUDIT_BUCKET_NAME"


@dataclass(frozen=True)
class Declared:
    """The requirements of the gateway: a range of Python versions, packages, and packages for each extra (PEP 508)."""

    python: str = ""
    packages: list[str] = field(default_factory=list)
    extras: Mapping[str, list[str]] = field(default_factory=dict)


def declared(root: Path = Path(gateway.__file__).parents[1]) -> Declared | None:
    """Read the requirements of the checkout, else of the installed wheel, else of a container's list; None without."""
    if (setup := root / "setup.cfg").is_file():
        config = ConfigParser()
        config.read(setup, encoding="utf-8")
        if config.get("metadata", "name", fallback="") == DISTRIBUTION:
            return _from_config(config)
    try:
        return _from_metadata(metadata.distribution(DISTRIBUTION))
    except metadata.PackageNotFoundError:
        pass
    if (listed := root / "requirements.txt").is_file():
        return Declared(packages=_lines(listed.read_text(encoding="utf-8")))
    return None


def _from_config(config: ConfigParser) -> Declared:
    extras = {name: _lines(text) for name, text in config.items("options.extras_require")}
    return Declared(config["options"]["python_requires"], _lines(config["options"]["install_requires"]), extras)


def _from_metadata(distribution: metadata.Distribution) -> Declared:
    from packaging.requirements import Requirement

    requirements = [Requirement(text) for text in distribution.requires or []]
    names = distribution.metadata.get_all("Provides-Extra") or []
    extras = {
        name: [_bare(each) for each in requirements if each.marker and each.marker.evaluate({"extra": name})]
        for name in names
    }
    return Declared(_python(distribution), [str(each) for each in requirements if not each.marker], extras)


def _python(distribution: metadata.Distribution) -> str:
    return ", ".join(distribution.metadata.get_all("Requires-Python") or [])


def _bare(requirement: object) -> str:
    return str(requirement).partition(";")[0].strip()


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def python(needs: Declared | None) -> Diagnosis:
    """Check the version of Python."""
    from packaging.specifiers import SpecifierSet

    version = ".".join(map(str, sys.version_info[:3]))
    if needs and version not in SpecifierSet(needs.python):
        return Diagnosis("python", Level.FAIL, f"{version}, not {needs.python}.", f"Use Python {needs.python}.")
    return Diagnosis(
        "python",
        Level.OK,
        f"{version}{f', as declared ({needs.python})' if needs and needs.python else ''}.",
    )


def packages(needs: Declared | None) -> Diagnosis:
    """Check the version of each required package."""
    if needs is None:
        text = f"gateway {gateway.__version__} does not declare which versions it needs."
        return Diagnosis("packages", Level.NOTE, text, "Install it as a package, or keep requirements.txt beside it.")
    wrong = [fault for text in needs.packages if (fault := unmet(text))]
    if wrong:
        remedy = f"pip install {' '.join(repr(text) for text in needs.packages if unmet(text))}"
        return Diagnosis("packages", Level.FAIL, f"{', '.join(wrong)}.", remedy)
    if broken := [name for name in SHOWN if not _imports(name.lower())]:
        remedy = f"pip install --force-reinstall {' '.join(broken)}"
        return Diagnosis("packages", Level.FAIL, f"Installed, but does not import: {', '.join(broken)}.", remedy)
    shown = ", ".join(f"{name} {metadata.version(name)}" for name in SHOWN)
    return Diagnosis(
        "packages", Level.OK, f"gateway {gateway.__version__}, {shown}; all {len(needs.packages)} as declared."
    )


def _imports(module: str) -> bool:
    try:
        import_module(module)
    except Exception:  # a broken installation may raise anything
        return False
    return True


def called_for(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the extras that a setting needs, each with the name of the setting."""
    needs = {
        "audit_s3": "s3" if settings.audit_s3 else "",
        "store_bucket": "s3" if settings.store_bucket else "",
        S3_BUCKET: "s3" if environ.get(S3_BUCKET) else "",
        "audit_sql": "sql" if settings.audit_sql else "",
        "store_folder": "store" if settings.store_folder else "",
        "jwt_jwks": "oidc" if settings.jwt_jwks else "",
        "nninteractive": "nninteractive" if settings.nninteractive else "",
        "digest": "blake3" if settings.digest == "blake3" else "",
    }
    return {extra: name for name, extra in needs.items() if extra}


def extras(needs: Declared | None, called_for: Mapping[str, str]) -> Diagnosis:
    """Check the extras; ``called_for`` are those that a setting needs, each with the name of the setting."""
    offered = {name: texts for name, texts in (needs.extras if needs else {}).items() if name not in FOR_DEVELOPERS}
    missing = {name: lacks for name, texts in offered.items() if (lacks := [text for text in texts if unmet(text)])}
    installed = f"Installed: {', '.join(sorted(offered.keys() - missing.keys())) or 'none'}"
    if not missing:
        return Diagnosis("extras", Level.OK, f"{installed}.")
    absent = ", ".join(f"{name} ({PURPOSES[name]})" if name in PURPOSES else name for name in sorted(missing))
    lacking = dict.fromkeys(text for name in sorted(missing) for text in missing[name])
    remedy = f"pip install {' '.join(map(repr, lacking))}"
    called = "".join(
        f"; {variable} is set and needs {name}" for name, variable in called_for.items() if name in missing
    )
    needed = [text for name in called_for if name in missing for text in missing[name]]
    driver_alone = all(text.startswith(DRIVER) for text in needed)
    level = Level.NOTE if not called else Level.WARN if driver_alone else Level.FAIL
    return Diagnosis("extras", level, f"{installed}; not: {absent}{called}.", remedy)


def unmet(text: str) -> str:
    """Return why a requirement (PEP 508) is not met, in a few words; "" where it is, or is not for this machine."""
    from packaging.requirements import Requirement

    requirement = Requirement(text)
    if requirement.marker and not requirement.marker.evaluate():
        return ""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(version, prereleases=True):
        return ""
    return f"{requirement.name} is {version}, not {requirement.specifier}"
