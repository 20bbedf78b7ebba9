"""scikit-learn: the features of a model in a pipeline."""

import numpy
import torch


def test_a_pipeline_on_digits(page):
    names = page("scikit-learn")
    assert names["accuracy"] > 0.85  # chance is 0.1
    model, images = names["model"], names["digits"].images[:70]
    features = names["pipeline"][0].transform(images)
    assert features.shape == (70, model.num_features)
    assert (features.std(0) > 0).mean() > 0.5
    with torch.inference_mode():
        x = torch.nn.functional.interpolate(torch.tensor(images / 8 - 1).float()[:, None], size=32)
        expected = model.forward_features(x).mean((2, 3)).numpy()
    numpy.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
