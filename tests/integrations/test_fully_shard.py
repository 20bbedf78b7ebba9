"""torch's fully_shard: train with sharded weights, and save the whole ones."""

import torch

import inceptionzoo as iz


def test_a_sharded_training_step_and_the_file_of_its_weights(page, tmp_path, monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 0}.items():
        monkeypatch.setenv(name, str(value))
    names = page("fully_shard (FSDP)")
    torch.manual_seed(0)
    first = iz.create_model("vgg11_bn_cifar", num_classes=2).state_dict()
    trained = iz.load_model(tmp_path / "sharded.safetensors").state_dict()
    weights = dict(names["plain"].named_parameters())
    assert all(trained[name].equal(weight) for name, weight in weights.items())
    assert all(type(weight) is torch.nn.Parameter for weight in weights.values())
    assert not any(trained[name].equal(first[name]) for name in weights if name.endswith("conv.weight"))
    assert names["loss"].isfinite()
