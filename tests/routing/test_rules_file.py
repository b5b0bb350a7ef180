"""The file of rules: what it may say, and a sentence for each fault."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from gateway import BoundingBox, Interactive, Settings, Volume
from gateway.app import Gateway
from gateway.routing.rules import AttributeMatch, Completeness, Rule, Sources
from gateway.routing.rules_file import Surroundings, read_rules

WHOLE = """
[rules.lungs]
titles = ["CT1", "CT*"]
callers = ["upload"]
caller = "radiology"
match = {Modality = "CT", SeriesDescription = ["*lung*", "*thorax*"]}
model = "/lungs"
parameters = {threshold = -500}
destinations = ["pacs", "archive"]
notice = "sr"
quiet_seconds = 30
ceiling_seconds = 900
association_end = true
count_from = "pacs"
retries = 0
retry_seconds = 5

[rules.bones]
callers = ["*"]
model = "/lungs"
match.RequestAttributesSequence.RequestedProcedureID = "THORAX*"
match.SeriesNumber = 3
"""


def application() -> Gateway:
    app = Gateway("rules", settings=Settings())

    @app.model("/lungs")
    def lungs(ct: Volume, threshold: Annotated[float, Field(ge=-1024)] = -400.0) -> BoundingBox:
        raise NotImplementedError

    @app.model("/guided")
    def guided(ct: Volume) -> Interactive[BoundingBox]:
        yield from ()
        raise NotImplementedError

    @app.model("/level")
    def level(ct: Volume, level: float) -> BoundingBox:
        raise NotImplementedError

    app.add_inference_route("/plain", lambda json, files, digest: ({}, []))
    return app


KNOWN = Surroundings(application().service.models, ["pacs", "archive"])


def written(folder: Path, text: str) -> Path:
    path = folder / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, surroundings: Surroundings = KNOWN) -> str:
    with pytest.raises(ValueError) as caught:
        read_rules(path, surroundings)
    return str(caught.value)


def test_a_rule_has_what_the_file_says_and_defaults_for_the_rest(tmp_path: Path) -> None:
    lungs, bones = read_rules(written(tmp_path, WHOLE), KNOWN)
    assert lungs == Rule(
        "lungs",
        "/lungs",
        Sources(("CT1", "CT*"), ("upload",)),
        (AttributeMatch("Modality", ("CT",)), AttributeMatch("SeriesDescription", ("*lung*", "*thorax*"))),
        "radiology",
        {"threshold": -500},
        Completeness(30, 900, True, "pacs"),
        ("pacs", "archive"),
        "sr",
        0,
        5,
    )
    assert bones == Rule(
        "bones",
        "/lungs",
        Sources(callers=("*",)),
        (
            AttributeMatch("RequestAttributesSequence.RequestedProcedureID", ("THORAX*",)),
            AttributeMatch("SeriesNumber", ("3",)),
        ),
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("tittles = ['CT1']", "rules.lungs: 'tittles' is not a key; titles is."),
        ("titles = 'CT1'", "titles should be a list; each item is an AE title"),
        ("titles = ['a title that is too long']", "titles should be a list; each item is an AE title"),
        ("titles = []", "rules.lungs: it needs titles"),
        ("callers = ['']", "callers should be a list of names"),
        ("caller = 'Dr. No'", "caller should be a name"),
        ("match = 'CT'", "match should be a table"),
        ("match = {Modalty = 'CT'}", "rules.lungs.match: 'Modalty' is no keyword of DICOM (PS3.6); Modality is."),
        ("match = {ModalitiesInStudy = 'CT'}", "Modality is one"),
        ("match = {PixelData = 'CT'}", "no text"),
        ("match = {ProcedureCodeSequence = 'CT'}", "is a sequence"),
        ("match = {Modality = []}", "rules.lungs.match: Modality should be text"),
        ("match = {Modality = {}}", "Modality should be text"),
        ("match = {Modality = true}", "Modality should be text"),
        ("match = {Modality = ' CT'}", "Modality should be text"),
        ('match = {ImageType = "ORIGINAL\\\\PRIMARY"}', "without a backslash"),
        ("model = '/lung'", "rules.lungs: there is no model on '/lung'; '/lungs' is one."),
        ("model = '/plain'", "plain function"),
        ("model = '/guided'", "a rule cannot answer"),
        ("model = '/level'", "parameters/level: level is missing."),
        ("model = 3", "model should be the route"),
        ("parameters = {threshold = 'high'}", "parameters/threshold: threshold should be a number"),
        ("parameters = {threshold = -5000}", "parameters/threshold: threshold should be at least -1024"),
        ("parameters = {treshold = 5}", "parameters/treshold: This model takes no such parameter; it takes threshold."),
        ("parameters = {study = '1.2.3'}", "parameters/study is written by the gateway"),
        ("parameters = {output = 'json'}", "parameters/output is written by the gateway"),
        ("parameters = {threshold = inf}", "infinity"),
        ("parameters = {threshold = 2026-11-01}", "a date"),
        ("destinations = ['pcas']", "rules.lungs: destinations: there is no peer 'pcas'; 'pacs' is one."),
        ("destinations = ['pacs', 'pacs']", "more than once"),
        ("destinations = 'pacs'", "destinations should be a list"),
        ("count_from = 'ris'", "count_from: there is no peer 'ris'; there is 'pacs', 'archive'."),
        ("notice = 'mail'", "notice should be one of none, sr, capture"),
        ("notice = ['sr']", "notice should be one of"),
        ("quiet_seconds = 0", "quiet_seconds should be seconds above 0"),
        ("quiet_seconds = '60 s'", "quiet_seconds should be seconds"),
        ("quiet_seconds = 900\nceiling_seconds = 60", "ceiling_seconds is less than quiet_seconds"),
        ("association_end = 'yes'", "association_end should be true or false"),
        ("retries = -1", "retries should be a whole number from 0 to 100"),
        ("retry_seconds = nan", "retry_seconds should be seconds"),
    ],
)
def test_a_fault_is_a_sentence(tmp_path: Path, line: str, sentence: str) -> None:
    key = line.partition(" ")[0]
    sound = {"titles": "['CT1']", "model": "'/lungs'"}
    rest = "\n".join(f"{name} = {value}" for name, value in sound.items() if name != key)
    assert sentence in refusal(written(tmp_path, f"[rules.lungs]\n{rest}\n{line}\n"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it has no rule"),
        ("rules = 3", "rules should be tables"),
        ("[rules]\nlungs = 3", "rules.lungs: it should be a table"),
        ("[rule.lungs]", "'rule' is not a key; rules is."),
        ("[rules.lungs]\ntitles = ['CT1']\n", "model is missing"),
        ("[rules.lungs]\nmodel = '/lungs'\n", "it needs titles"),
        ("[rules.'a b']\nmodel = '/lungs'\ntitles = ['CT1']\n", "a name has"),
        ("[rules.lungs]\n[rules.lungs]\n", "is not TOML: Cannot declare ('rules', 'lungs') twice, at line 2"),
        ("[rules.lungs]\nmodel = '/lungs'\nmodel = '/bones'\n", "is not TOML: Cannot overwrite a value, at line 3"),
        ("[rules", "is not TOML"),
    ],
)
def test_a_file_that_is_none_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    assert sentence in refusal(written(tmp_path, text))


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    assert "the file of rules, cannot be read: No such file" in refusal(tmp_path / "rules.toml")


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    text = "[rules.a]\nquiet = 1\nnotice = 'x'\n[rules.b]\nmodel = '/c'\ndestinations = ['d']\n"
    found = refusal(written(tmp_path, text))
    for sentence in ("'quiet' is not a key", "notice should", "model is missing", "no model on '/c'", "no peer 'd'"):
        assert sentence in found
    assert found.count("it needs titles") == 2


def test_without_models_and_peers_their_names_are_not_judged(tmp_path: Path) -> None:
    text = "[rules.a]\ncallers = ['*']\nmodel = '/c'\ndestinations = ['d']\nparameters = {e = 1}\n"
    assert read_rules(written(tmp_path, text), Surroundings())[0].destinations == ("d",)
    assert "GATEWAY_PEERS names the file" in refusal(tmp_path / "rules.toml", Surroundings(None, []))


KEYS = (
    *("titles", "callers", "caller", "match", "model", "parameters", "destinations", "notice"),
    *("quiet_seconds", "association_end", "count_from", "retries"),
)
ODD = ("[]", "{}", "1", "'x'", "[['x']]", "[{}]", "1979-05-27", "nan", "'\\u0000'", "{a.b.c = 1}", "[1, 'x']")


@pytest.mark.parametrize("key", KEYS)
def test_no_value_of_a_key_is_a_traceback(tmp_path: Path, key: str) -> None:
    for value in ODD:
        assert "the file of rules" in refusal(written(tmp_path, f"[rules.a]\n{key} = {value}\nx = 1\n")), value
