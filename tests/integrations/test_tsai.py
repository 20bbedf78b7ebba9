"""tsai's InceptionTime, after every module."""

import pytest
import torch
from helpers import distance, fill, noise, outputs

import inceptionzoo as iz

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),  # tsai's import calls it
]


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 5)])
@torch.no_grad()
def test_equals_tsai(channels, classes):
    from tsai.models.InceptionTime import InceptionTime

    reference = fill(InceptionTime(channels, classes))
    model = iz.create_model(
        "inception_time", in_chans=channels, num_classes=classes, kernels=(39, 19, 9), eps=1e-5, shortcut="norm"
    )
    assert iz.load_weights(model, reference.state_dict()).layout == "tsai"
    model.eval()
    x = noise(2, channels, 80)
    steps = {f"block{block}.{step}": (block, step) for block in (1, 2) for step in range(3)}
    mine = outputs(
        {name: getattr(model.features, f"block{block}").body[step] for name, (block, step) in steps.items()}, lambda: model(x)
    )
    modules = reference.inceptionblock.inception
    theirs = outputs({name: modules[3 * block - 3 + step] for name, (block, step) in steps.items()}, lambda: reference(x))
    assert all(distance(mine[name], theirs[name]) < 1e-6 for name in steps)
    assert distance(model(x), reference(x)) < 1e-6
    exported = iz.weights.exported_state_dict(model, layout="tsai")
    assert all(value.equal(exported[key]) for key, value in reference.state_dict().items())
