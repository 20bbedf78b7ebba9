"""cd-fvd: the distance of our I3D is that of its own network with the same weights."""

import pytest
import scipy.linalg
from cdfvd.fvd import cdfvd

import inceptionzoo as iz


def test_fvd_equals_cdfvds(page, tmp_path, monkeypatch):
    root = scipy.linalg.sqrtm
    monkeypatch.setattr(scipy.linalg, "sqrtm", lambda matrix, disp: (root(matrix), None))  # scipy 1.18 has no `disp`
    names = page("FVD")
    iz.export_weights(names["model"], tmp_path / "i3d.pt", layout="pytorch-i3d")
    metric = cdfvd("i3d", ckpt_path=str(tmp_path / "i3d.pt"), n_fake="full", device="cpu")
    theirs = metric.compute_fvd(names["real"], names["fake"])
    assert theirs > 0
    assert names["fvd"] == pytest.approx(theirs, rel=1e-3)
    assert names["frechet_distance"](names["features"](names["real"]), names["features"](names["real"])) < 1e-3 * theirs
