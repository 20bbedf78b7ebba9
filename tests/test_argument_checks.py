"""The functions that check arguments."""

import pytest
import torch

import inceptionzoo as iz

BATCH = torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("folder", lambda model: iz.save_pretrained(model, "")),
        ("path", lambda model: iz.save_weights(model, "")),
        ("out", lambda model: iz.fit(model, [BATCH], epochs=1, out="")),
        ("path", lambda model: iz.load_model("")),
        ("weights", lambda model: iz.create_model("tiny", weights="")),
        ("weights", lambda model: iz.load_weights(model, "")),
    ],
)
def test_an_empty_path_is_not_the_current_folder(tiny, tmp_path, monkeypatch, name, call):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(iz.ArgumentError, match=f"{name}='' must be a path, for example 'folder/name'"):
        call(tiny)
    assert not list(tmp_path.iterdir())
