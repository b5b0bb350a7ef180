"""``run`` calls a model without a server and checks its answer."""

import shutil
import sys
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from gateway.dicom.samples import phantom
from tests.cli.terminals import conversation
from tests.commands import command
from tests.dicom.volumes.nifti_files import VOXELS, nifti, packed

MODELS = """
import numpy as np
import pydicom
from gateway import Gateway, Mask, StudyRefused, Volume

app = Gateway(__name__)

@app.model("/bone", version="1")
def bone(ct: Volume, threshold: float = 300) -> Mask:
    return Mask(ct.array > threshold)

def plain(json_input, dicom_instances, input_digest):
    return {"study_ml_json": {"images": len(dicom_instances)}}, []

def wrong(json_input, dicom_instances, input_digest):
    return {"parts": [{"binary_type": "boolean_mask", "binary_data_shape": {"height": 2, "width": 2}}]}, [bytes(3)]

def refuses(json_input, dicom_instances, input_digest):
    raise StudyRefused("Not this one.")
"""


BUGGY = """
from gateway import Mask, Volume

def bright(ct: Volume, threshold: float = 300) -> Mask:
    return Mask(denser(ct, threshold))

def denser(ct, threshold):
    return ct.data > threshold
"""


@pytest.mark.parametrize("target", ["tissue:bright", "./tissue:bright", "tissue.py:bright", "tissue.py"])
def test_a_bug_in_a_model_is_a_traceback_of_its_own_lines(tmp_path: Path, study: Path, target: str) -> None:
    (tmp_path / "tissue.py").write_text(BUGGY)
    done = run(tmp_path, "run", target, "-i", str(study), "-o", "out")
    assert done.returncode == 1
    told = done.stderr[done.stderr.index("Traceback (most recent call last):") :].splitlines()
    frames = [line.strip() for line in told if line.startswith("  File ")]
    file = tmp_path / "tissue.py"
    assert frames == [f'File "{file}", line 5, in bright', f'File "{file}", line 8, in denser']
    assert "AttributeError: 'Volume' object has no attribute 'data'" in told
    assert "gateway/" not in done.stderr
    assert told[-1].startswith("error: the model raised an exception: tissue.py:8: AttributeError")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (
            "import numpy as np\nfrom gateway import *\ndef m(ct: np.ndarray) -> Mask: ...",
            "3: TypeError: m: ct is no numpy",
        ),
        (
            "from gateway import *\napp = Gateway('x')\n@app.model\ndef m(ct: Volume) -> Mask: ...",
            "3: TypeError: m: the",
        ),
        (
            "from gateway import *\napp = Gateway('x')\n@app.model('/')\ndef m(ct: Volume) -> list: ...",
            "3: TypeError: m: it",
        ),
        ("import no_such_module", "1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def m(:", "1: SyntaxError: "),
        ("x = 1 / 0", "1: ZeroDivisionError: division by zero"),
    ],
)
def test_an_error_of_an_import_or_a_declaration_is_one_line(
    tmp_path: Path, study: Path, source: str, line: str
) -> None:
    (tmp_path / "tissue.py").write_text(source)
    done = run(tmp_path, "run", "tissue:m", "-i", str(study), "-o", "out")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith(f"error: tissue.py:{line}")


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("empty.py", "no application and no model"),
        ("absent.py", "absent.py is not a file"),
        ("two.py", "it has a, b"),
        ("two.py:c", "two.py has no c; it has a, b"),
    ],
)
def test_a_file_without_one_model_is_reported_with_those_that_it_has(
    tmp_path: Path, study: Path, target: str, sentence: str
) -> None:
    (tmp_path / "empty.py").write_text("import gateway")
    (tmp_path / "two.py").write_text("from gateway import Gateway\na, b = Gateway('a'), Gateway('b')")
    done = run(tmp_path, "run", target, "-i", str(study), "-o", "out")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert sentence in done.stderr


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    phantom.write(folder, slices=6, size=64)
    return folder


def run(folder: Path, *words: str) -> "CompletedProcess[str]":
    return command(*words, folder=folder, environ={"PATH": "/usr/bin:/bin"})


@pytest.mark.parametrize("target", ["these:bone", "these:plain"])
def test_a_good_answer_has_a_verdict_files_and_pictures(tmp_path: Path, study: Path, target: str) -> None:
    (tmp_path / "these.py").write_text(MODELS)
    done = run(tmp_path, "run", target, "-i", str(study), "-o", "out", *("--param", "threshold=500"))
    assert done.returncode == 0, done.stderr
    assert "verdict good" in done.stdout
    assert (tmp_path / "out" / "response.json").is_file()
    assert (tmp_path / "out" / "contact_sheet.png").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("these:wrong",), "error: the answer is wrong: /parts/0"),
        (("these:refuses",), "Not this one."),
        (("these:bone", "--param", "threshold=high"), "threshold"),
        (("these:nothing",), "no nothing"),
        (("nowhere:bone",), "no module nowhere"),
        (("these",), "no model on the route /; this application has /bone: "),
    ],
)
def test_an_answer_that_would_be_refused_ends_in_one_line_and_a_failure(
    tmp_path: Path, study: Path, words: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "these.py").write_text(MODELS)
    done = run(tmp_path, "run", *words, "-i", str(study), "-o", "out")
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if not line.startswith("running on 6 files")] == [
        line for line in done.stderr.splitlines() if line.startswith("error: ") and sentence in line
    ]
    assert "error: " in done.stderr


def test_a_refusal_of_a_file_names_it(tmp_path: Path, study: Path) -> None:
    shutil.copytree(study, tmp_path / "study")
    broken = sorted((tmp_path / "study").iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:-100])
    (tmp_path / "these.py").write_text(MODELS)
    done = run(tmp_path, "run", "these:bone", "-i", "study", "-o", "out")
    assert f"({broken.name})" in done.stderr.splitlines()[-1]


def test_a_profile_names_the_model_and_its_memory(tmp_path: Path, study: Path) -> None:
    (tmp_path / "these.py").write_text(MODELS)
    done = run(tmp_path, "run", "these:bone", "-i", str(study), "-o", "out", "--profile")
    assert "these.py" in done.stdout
    assert "MiB at its peak" in done.stdout


ASKING = """
import numpy as np
from gateway import Ask, Classification, Interactive, Preview, Progress, Volume

def ask(ct: Volume) -> Interactive[Classification]:
    yield Progress(1, 2, "half of it")
    yield Preview(np.zeros((4, 4), np.uint8), "black")
    point = yield Ask("Where is it?", kind="point")
    organ = yield Ask("Which organ?", kind="choice", choices=("liver", "lung"), default="lung")
    word = yield Ask("The word?", kind="password")
    return Classification({"place": list(point), "organ": organ, "letters": len(word)})
"""


@pytest.fixture
def asking(tmp_path: Path) -> Path:
    (tmp_path / "asking.py").write_text(ASKING)
    return tmp_path


def test_the_questions_of_a_model_are_answered_by_options_in_order(asking: Path, study: Path) -> None:
    answers = ["--answer", "1,2.5,3", "--answer", "liver", "--answer", "sesame", "--answer", "too much"]
    done = run(asking, "run", "asking.py", "-i", str(study), "-o", "out", *answers)
    assert done.returncode == 0, done.stderr
    saved = "".join(path.read_text() for path in (asking / "out").glob("*.json"))
    assert all(text in saved for text in ("2.5", '"liver"', '"letters": 6'))
    assert "sesame" not in done.stdout + done.stderr + saved
    assert "answers that no question has taken: 1" in done.stderr
    assert [path.name for path in (asking / "out-previews").iterdir()] == ["preview_001.png"]


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([], "error: the model asks: Where is it? (slice,row,column) Answer by --answer, or run it on a terminal."),
        (["1,2,3"], "error: the model asks: Which organ? (liver, lung) [lung] Answer by --answer"),
        (['{"answer": [1,2,}'], "The answer begins with { and is not valid JSON."),
        (["here"], "error: a gateway would refuse: A point should be three finite numbers"),
        (["1,2,300"], "A point should lie in the volume"),
        (["1,2,3", "heart"], "The answer should be one of the choices"),
    ],
)
def test_a_question_without_a_fitting_answer_is_a_sentence(
    asking: Path, study: Path, answers: list[str], sentence: str
) -> None:
    options = [option for answer in answers for option in ("--answer", answer)]
    done = run(asking, "run", "asking.py", "-i", str(study), "-o", "out", *options)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_person_at_a_terminal_is_asked_until_the_answer_fits(asking: Path, study: Path) -> None:
    said = conversation(
        [sys.executable, "-m", "gateway", "run", "asking.py", "-i", str(study), "-o", "out"],
        [("Where is it?", "1,2"), ("Where is it?", "1,2,3"), ("Which organ?", ""), ("The word?", "sesame")],
        folder=asking,
    )
    assert "A point should be three finite numbers" in said
    assert "sesame" not in said
    saved = "".join(path.read_text() for path in (asking / "out").glob("*.json"))
    assert '"lung"' in saved


def test_a_nifti_file_of_a_stated_modality_has_its_masks_as_nifti(tmp_path: Path) -> None:
    (tmp_path / "tissue.py").write_text(MODELS)
    (tmp_path / "scan.nii.gz").write_bytes(packed(nifti()))
    arguments = ["-i", "scan.nii.gz", "-o", "out", "--modality", "CT", "--nifti", "--param", "threshold=5"]
    done = run(tmp_path, "run", "tissue:bone", *arguments)
    assert done.returncode == 0, done.stderr
    written = Nifti1Image.from_filename(tmp_path / "out/mask_1.nii.gz")
    assert np.array_equal(written.dataobj, VOXELS > 5)
    assert (tmp_path / "out/output_masks_1.npy").exists() and (tmp_path / "out/contact_sheet.png").exists()
