"""Imports are declared, dependencies have their licence in NOTICE, and the container's packages are pinned."""

import re
from collections.abc import Mapping
from configparser import ConfigParser
from functools import cache
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

import gateway
from gateway.extras import PACKAGES, hint
from tests.house.imports import ROOT, imports_below

LOADED_BY_NAME = {
    "pyjpegls": "pydicom",
    "pylibjpeg": "pydicom",
    "pylibjpeg-openjpeg": "pylibjpeg",
    "python-gdcm": "pydicom",
    "opentelemetry-exporter-otlp-proto-http": "the gateway, from the namespace that opentelemetry's packages share",
    "psycopg": "SQLAlchemy, for a URL that names it",
    "pyyaml": "services of the inference-sdk, which load logging.yaml",
    "requests-toolbelt": "services of the inference-sdk",
}
"""Declared, but not imported under a name of its own: the package that loads it."""
COMES_WITH = {"pydantic_core": "pydantic", "botocore": "boto3", "opentelemetry": "opentelemetry-sdk"}
"""Modules of a distribution that another one installs in a version of its own choice."""
NOT_HERE = {canonicalize_name("ray")}
"""Large optional packages, which only the slow tests that need them install, in a folder of their own."""
FOR_DEVELOPERS = {"test", "dev"}
EXPRESSIONS = {"MIT License": "MIT", "BSD License": "BSD-3-Clause", "Apache Software License": "Apache-2.0"}
"""SPDX expressions for the classifiers of packages that state none."""

CONFIG = ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
EXTRAS = {name: text for name, text in CONFIG.items("options.extras_require") if name not in FOR_DEVELOPERS}


def requirements(text: str) -> dict[NormalizedName, Requirement]:
    """The requirements of a list by canonical name (PEP 503)."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {canonicalize_name(found.name): found for found in map(Requirement, lines)}


REQUIRED = requirements(CONFIG["options"]["install_requires"])
OPTIONAL = requirements("\n".join(EXTRAS.values()))
PINNED = requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LOCKED = requirements(re.sub(r" \\\n( +--hash=\S+( \\\n)?)+", "\n", LOCK))
NOTICE = {
    canonicalize_name(name): licence
    for name, licence in re.findall(
        r"^    (\S+) +(.+?)(?: +\[.+)?$", (ROOT / "NOTICE").read_text("utf-8"), re.MULTILINE
    )
}


@cache
def installed() -> Mapping[str, list[str]]:
    """The distributions of each top-level module; reading them all takes seconds."""
    return metadata.packages_distributions()


def distributions(*packages: str) -> set[NormalizedName]:
    """The distributions that modules of ``packages`` import, by canonical name."""
    known = installed()
    modules = {found.name.split(".")[0] for found in imports_below(ROOT, *packages) if not found.typing_only}
    named = {COMES_WITH.get(module) or known.get(module, [""])[0] for module in modules}
    return {canonicalize_name(name) for name in named} - {canonicalize_name(""), canonicalize_name("inference-gateway")}


def licence(distribution: metadata.Distribution) -> str:
    """What an installed package states: an SPDX expression, else its older fields."""
    fields = distribution.metadata
    kinds = [line.rpartition(" :: ")[2] for line in fields.get_all("Classifier") or [] if line.startswith("License")]
    stated = fields.get_all("License-Expression") or [EXPRESSIONS[kind] for kind in kinds] or [fields["License"]]
    return " OR ".join(stated)


@pytest.mark.heavy
def test_what_the_gateway_imports_is_declared() -> None:
    assert distributions("gateway") - REQUIRED.keys() - OPTIONAL.keys() == set()


@pytest.mark.heavy
def test_what_is_declared_is_imported_or_loaded_by_name() -> None:
    declared = REQUIRED.keys() | OPTIONAL.keys()
    assert declared - distributions("gateway", "models", "utils") <= LOADED_BY_NAME.keys() | NOT_HERE
    assert LOADED_BY_NAME.keys() <= declared


@pytest.mark.heavy
@pytest.mark.parametrize(("package", "extras"), [("models", {"models"}), ("utils", {"nifti", "s3", "compat"})])
def test_what_lies_beside_the_gateway_imports_no_more_than_its_extras(package: str, extras: set[str]) -> None:
    offered = requirements("\n".join(EXTRAS[name] for name in extras))
    assert distributions(package) - REQUIRED.keys() - offered.keys() == set()


@pytest.mark.parametrize("name", sorted(REQUIRED.keys() | OPTIONAL.keys()))
def test_the_notice_states_the_licence_of_each_dependency(name: NormalizedName) -> None:
    assert name in NOTICE, f"NOTICE has no row for {name}"
    if name not in NOT_HERE:
        assert NOTICE[name] == licence(metadata.distribution(name))


def test_the_notice_names_no_package_that_is_not_a_dependency() -> None:
    assert NOTICE.keys() == REQUIRED.keys() | OPTIONAL.keys()


def test_the_container_s_list_pins_each_requirement_within_its_bounds() -> None:
    runtime = REQUIRED | requirements(EXTRAS["models"] + EXTRAS["compat"])
    assert PINNED.keys() == runtime.keys()
    versions = {name: str(pinned.specifier).removeprefix("==") for name, pinned in PINNED.items()}
    assert [name for name, version in versions.items() if version not in runtime[name].specifier] == []


def test_the_lock_has_a_hash_for_each_package_and_the_pins_of_the_list() -> None:
    assert {name for name, pinned in PINNED.items() if LOCKED[name].specifier != pinned.specifier} == set()
    image = requirements("\n".join(EXTRAS[name] for name in ("gdcm", "store", "dimse")))
    assert [name for name, asked in image.items() if not asked.specifier.contains(version(LOCKED[name]))] == []
    assert len(re.findall(r"^\S+==\S+ \\\n +--hash=sha256:", LOCK, re.MULTILINE)) == len(LOCKED)


@pytest.mark.parametrize("extra", sorted(PACKAGES))
def test_a_hint_names_the_packages_of_the_extra(extra: str) -> None:
    assert list(PACKAGES[extra]) == [line for line in EXTRAS[extra].splitlines() if line]
    assert all(requirement in hint(extra) for requirement in PACKAGES[extra])


@pytest.mark.parametrize("suffix", [".py", ".md", ".txt", ".yaml", ".html"])
def test_no_hint_installs_the_gateway_by_its_name_from_an_index(suffix: str) -> None:
    texts = [path for folder in ("gateway", "docs", "models", "utils") for path in (ROOT / folder).rglob(f"*{suffix}")]
    pages = [*texts, *ROOT.glob(f"*{suffix}")]
    by_name = re.compile(r"install [^\n]*\binference-gateway\b(?!\.)|inference-gateway(\[\w+\]| *[=~>]=)")
    assert [path.name for path in pages if by_name.search(path.read_text("utf-8"))] == []


def version(pinned: Requirement) -> str:
    return str(pinned.specifier).removeprefix("==")


def test_the_version_and_the_licence_are_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == gateway.__version__
    assert citation["license"] == CONFIG["metadata"]["license_expression"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text(encoding="utf-8")
