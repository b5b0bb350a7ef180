"""Settings of a Ray cluster that do not fit together are refused with a sentence, before anything starts."""

from pathlib import Path

import pytest

from gateway import Settings
from gateway.executors.ray.bundle_folders import bundle_folders, needed_bundles
from gateway.executors.ray.cluster import require_ray


@pytest.mark.parametrize("ray", ["", "local"])
def test_a_working_dir_needs_a_cluster_that_runs_already(tmp_path: Path, ray: str) -> None:
    with pytest.raises(ValueError, match="GATEWAY_RAY_WORKING_DIR"):
        require_ray(Settings(ray=ray, ray_working_dir=tmp_path))


def test_a_working_dir_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder"):
        require_ray(Settings(ray="head:6379", ray_working_dir=tmp_path / "missing"))


@pytest.mark.parametrize("given", [{}, {"ray": "local"}, {"store_folder": Path("/tmp/store")}])
def test_bundles_need_a_store_and_a_cluster(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="GATEWAY_RAY_BUNDLES"):
        require_ray(Settings(ray_bundles="lungs=/srv/lungs", **given))


@pytest.mark.parametrize("text", ["lungs", "lungs=", "lungs=weights", "../x=/srv", "a=/srv/a,a=/srv/b", "=/srv"])
def test_what_is_no_list_of_bundles_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="GATEWAY_RAY_BUNDLES"):
        bundle_folders(text)


def test_a_model_needs_the_bundles_in_whose_folders_its_weights_lie() -> None:
    text = "lungs=~/lungs, bones=/srv/bones"
    assert bundle_folders(text) == {"lungs": "~/lungs", "bones": "/srv/bones"}
    assert needed_bundles(text, [Path.home() / "lungs" / "unet.pt"]) == ["lungs"]
    assert needed_bundles(text, [Path("/srv/bones2/unet.pt")]) == []
    assert needed_bundles(text, []) == ["lungs", "bones"]
    assert needed_bundles("", []) == []
