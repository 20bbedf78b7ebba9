"""scikit-learn: the features of a model in a pipeline, and a model as an estimator."""

import numpy
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV


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


def test_an_estimator_in_a_grid_search(page):
    digits = load_digits(n_class=2)
    images = numpy.kron(digits.images[:64, None] / 8 - 1, numpy.ones((3, 4, 4)))  # (64, 3, 32, 32)
    names = numpy.array(["zero", "one"])[digits.target[:64]]
    search = GridSearchCV(page("scikit-learn estimator")["ImageClassifier"](epochs=1), {"lr": [0.002, 0.02]}, cv=2)
    assert search.fit(images, names).best_params_["lr"] in (0.002, 0.02)
    probabilities, answers = search.predict_proba(images), search.predict(images)
    numpy.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert numpy.array_equal(answers, numpy.array(["one", "zero"])[probabilities.argmax(1)])  # in alphabetical order
    again = clone(search.best_estimator_).fit(images, names)
    assert numpy.array_equal(again.predict_proba(images), probabilities)
