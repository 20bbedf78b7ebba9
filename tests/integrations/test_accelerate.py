"""Accelerate: a training loop, then evaluate and save_weights."""

import torch

import inceptionzoo as iz


def test_training_and_evaluation(page, tmp_path):
    names = page("Accelerate")
    model, losses, result = names["model"], names["losses"], names["result"]
    assert type(model) is iz.Net
    assert len(losses) == 9
    assert sum(losses[-3:]) < sum(losses[:3])
    images, targets = zip(*names["val"].dataset, strict=True)
    with torch.inference_mode():
        expected = (model.eval()(torch.stack(images)).argmax(1) == torch.tensor(targets)).float().mean()
    assert result.accuracy == float(expected)
    iz.save_weights(model, tmp_path / "mine.safetensors")
    again = iz.load_model(tmp_path / "mine.safetensors")
    with torch.inference_mode():
        assert again(torch.stack(images)).equal(model(torch.stack(images)))
