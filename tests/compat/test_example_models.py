"""The predecessor's client against the example models, served as its ``mock_server.py`` served them."""

from pathlib import Path

from tests.compat.client import decode, post
from tests.compat.conftest import running
from tests.dicom.studies import image, put
from tests.ports import free_port


def test_three_slices_far_apart_are_segmented_as_the_predecessors_test_expects(tmp_path: Path) -> None:
    study = tmp_path / "study"
    for z in (0, 12, 180):
        put(study, f"{z:03}.dcm", image(name=str(z), z=z))
    slices = [path.read_bytes() for path in sorted(study.iterdir())]
    port = free_port()
    with running(tmp_path, port, "-m", "models", "-s3D", "--port", str(port)) as service:
        answer = decode(post(service.url + "/", {"inference_command": "get-probability-mask"}, slices))
    assert answer.response.status_code == 200
    shapes = [part["binary_data_shape"] for part in answer.json["parts"]]
    assert [(shape["timepoints"], shape["depth"]) for shape in shapes] == [(1, 3)] * len(shapes)
    assert [len(mask) for mask in answer.masks] == [
        shape["depth"] * shape["height"] * shape["width"] for shape in shapes
    ]
