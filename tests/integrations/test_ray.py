"""Ray Data: two workers, each with a fused model, classify a folder of images."""

from pathlib import Path

import pytest

import inceptionzoo as iz

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings(r"ignore:`use_\w+` is deprecated"),  # ray.data 2.60 warns about its own settings
]


@pytest.fixture
def cluster():
    """Two workers on this machine."""
    import ray

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def test_a_folder_with_two_workers(cluster, page):
    names = page("Ray Data")
    rows, model = names["rows"], iz.load_model("model.safetensors")
    assert sorted(row["path"] for row in rows) == sorted(str(path.resolve()) for path in Path("moles/train").rglob("*.jpg"))
    for row in rows:
        (name, probability), _ = iz.predict(model, row["path"])
        assert row["name"] == name
        assert row["probability"] == pytest.approx(probability, abs=1e-4)
