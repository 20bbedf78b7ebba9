"""sktime: InceptionTime as an estimator."""

from sklearn.base import clone


def test_an_estimator_on_arrowhead(page):
    names = page("sktime")
    assert names["accuracy"] > 0.7  # chance is 0.4
    classifier, (series, labels) = names["classifier"], names["test"]
    assert set(classifier.predict(series)) <= set(labels)
    again = clone(classifier).set_params(epochs=1).fit(*names["train"])
    assert again.epochs == 1
    assert classifier.epochs == 60
