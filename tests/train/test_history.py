"""The record of a training: the best row, and its files."""

import csv
import json
import math

import pytest

from inceptionzoo.train import History


def history(*values: float) -> History:
    return History("accuracy", [{"epoch": epoch, "accuracy": value} for epoch, value in enumerate(values)])


@pytest.mark.parametrize(
    ("values", "best"),
    [((math.nan, 0.5, 0.4), 1), ((0.5, math.nan), 0), ((math.nan, math.nan), 0), ((0.4, 0.5, 0.5), 1)],
    ids=str,
)
def test_the_best_row_has_a_value_and_is_the_first_of_equals(values, best):
    record = history(*values)
    assert record.best["epoch"] == best
    assert record.epochs_since_best == len(values) - 1 - best


def test_files_have_every_row(tmp_path):
    record = history(0.5, math.nan)
    record.epochs[1]["own"] = 2.0
    record.to_csv(tmp_path / "history.csv")
    record.to_json(tmp_path / "history.json")
    with open(tmp_path / "history.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [{"epoch": "0", "accuracy": "0.5", "own": ""}, {"epoch": "1", "accuracy": "nan", "own": "2.0"}]
    values = json.loads((tmp_path / "history.json").read_text())
    assert values == {
        "monitor": "accuracy",
        "epochs": [{"epoch": 0, "accuracy": 0.5}, {"epoch": 1, "accuracy": None, "own": 2.0}],
    }


@pytest.mark.parametrize("name", ["to_csv", "to_json"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, name):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "history"
    getattr(history(0.5), name)(path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left on device"):
        getattr(history(0.5, 0.6), name)(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["history"]
