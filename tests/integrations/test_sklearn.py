"""scikit-learn: features in a pipeline."""

import numpy
import torch


def test_a_pipeline_on_digits(page):
    names = page("scikit-learn")
    assert names["accuracy"] > 0.85  # a tenth is chance
    model, images = names["model"], names["digits"].images[:70]
    seen = names["pipeline"][0].transform(images)
    assert seen.shape == (70, model.num_features)
    assert (seen.std(0) > 0).mean() > 0.5
    with torch.inference_mode():
        x = torch.nn.functional.interpolate(torch.tensor(images / 8 - 1).float()[:, None], size=32)
        expected = model.forward_features(x).mean((2, 3)).numpy()
    numpy.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-5)
