"""Lightning: train a module and load its checkpoint."""

import pytest
import torch

import inceptionzoo as iz

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",  # lightning 2.6 on torch 2.14
    "ignore:.*does not have many workers",  # a hint about speed
    "ignore:.*srun.*",  # a hint if SLURM is installed
    "ignore:The number of training batches",  # a hint about logging
    "ignore:.*You defined a `validation_step`",
)


def test_a_checkpoint_is_loaded(page):
    names = page("Lightning")
    module, trainer, model = names["module"], names["trainer"], names["model"]
    assert trainer.global_step == 6
    first = torch.nn.functional.cross_entropy(torch.zeros(1, 2), torch.tensor([0]))
    assert trainer.callback_metrics["loss"] < first
    assert "state_dict" in model.report.taken
    images = torch.stack([image for image, _ in names["train"].dataset])
    with torch.inference_mode():
        assert model.eval()(images).equal(module.model.eval()(images))
    again = iz.create_model("vgg11_bn_cifar", num_classes=2)
    iz.load_weights(again, trainer.checkpoint_callback.best_model_path)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(value.equal(again.state_dict()[key]) for key, value in model.state_dict().items())
