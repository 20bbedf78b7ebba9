"""Ensemble: the mean of probabilities, each member with its own normalisation, saved in one file."""

import copy
import dataclasses
import pickle

import pytest
import torch
from helpers import noise, one_thread
from sklearn.datasets import load_digits

import inceptionzoo as iz
from inceptionzoo.zoo._registry import REGISTRY

HALF = iz.DataConfig(input_size=(3, 16, 16), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
OTHER = iz.DataConfig(input_size=(3, 16, 16), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


@pytest.fixture
def members(register):
    """Three models with three classes. Two use a different normalisation from the first."""
    wide = iz.network(a=iz.Conv(8, 3, 2), b=iz.inception(2, 2, 2, 2, 2, 2))
    register("wide", wide, num_classes=3, data=HALF, input_size=(3, 16, 16))
    narrow = iz.network(a=iz.Conv(4, 3, 2), b=iz.Conv(6, 3))
    register("narrow", narrow, num_classes=3, data=OTHER, input_size=(3, 16, 16))
    torch.manual_seed(0)
    return [iz.create_model(name).eval() for name in ("wide", "narrow", "narrow")]


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(noise(12, 3, 16, 16, seed=seed), torch.arange(12) % 3) for seed in range(3)]


def with_task(member: iz.Net, task: str) -> iz.Net:
    other = copy.deepcopy(member)
    other.task = task
    return other


@pytest.mark.parametrize(("field", "value"), [("input_size", (3, 24, 24)), ("crop_mode", "squash")])
def test_members_for_other_images_warn(members, field, value):
    other = copy.deepcopy(members[1])
    other.data = dataclasses.replace(other.data, **{field: value})
    with pytest.warns(
        UserWarning, match=rf"member 1 has {field}=.*, but the ensemble prepares images for member 0, {field}="
    ) as warned:
        iz.Ensemble([members[0], other])
    assert [warning.filename for warning in warned] == [__file__]


@torch.no_grad()
def mean_by_hand(members: list[iz.Net], pixels: torch.Tensor, weights: list[float]) -> torch.Tensor:
    """Return the mean of the probabilities, with pixels normalised separately for each member."""
    total = torch.zeros(len(pixels), 3)
    for member, weight in zip(members, weights, strict=True):
        mean, std = (torch.tensor(values)[:, None, None] for values in (member.data.mean, member.data.std))
        total += weight * member((pixels - mean) / std).softmax(1)
    return total / sum(weights)


@one_thread()
@pytest.mark.parametrize("weights", [None, [1, 2, 3], [0.0, 1.0, 0.0]])
def test_output_is_the_log_of_the_mean_probability(members, weights):
    ensemble, pixels = iz.Ensemble(members, weights), torch.rand(5, 3, 16, 16)
    x = (pixels - 0.5) / 0.5
    with torch.no_grad():
        logs = ensemble(x)
    torch.testing.assert_close(logs.exp(), mean_by_hand(members, pixels, weights or [1, 1, 1]))
    torch.testing.assert_close(logs.softmax(1), logs.exp())
    assert (ensemble.data, ensemble.num_classes, ensemble.in_chans) == (HALF, 3, 3)


def test_evaluate_predict_and_transforms_accept_an_ensemble(members):
    for member in members:
        member.set_class_names(["a", "b", "c"])
    ensemble = iz.Ensemble(members)
    result = iz.evaluate(ensemble, batches())
    assert result.class_names == ("a", "b", "c")
    each = torch.stack([iz.evaluate(iz.Ensemble([members[0], member], [0, 1]), batches()).probabilities for member in members])
    torch.testing.assert_close(result.probabilities, each.mean(0))
    names = iz.predict(ensemble, noise(3, 16, 16).clamp(-1, 1))
    assert sum(value for _, value in names) == pytest.approx(1)
    assert {name for name, _ in names} == {"a", "b", "c"}
    from PIL import Image

    assert iz.transforms(ensemble)(Image.new("RGB", (20, 20))).shape == (3, 16, 16)


@one_thread()
def test_save_and_load(members, tmp_path):
    path, x = tmp_path / "all.safetensors", noise(4, 3, 16, 16)
    members[1].set_class_names(["a", "b", "c"]), members[0].set_class_names(["a", "b", "c"])
    ensemble = iz.Ensemble(members[:2], [1, 3]).eval()
    ensemble.save(path)
    again = iz.Ensemble.load(path)
    for other in (again, copy.deepcopy(ensemble), pickle.loads(pickle.dumps(ensemble))):
        assert other(x).equal(ensemble(x))
    assert again.class_names == ("a", "b", "c")
    assert again.weights.tolist() == [0.25, 0.75]
    assert not again.training
    with pytest.raises(iz.FileError, match=r"holds an ensemble, not a model; Ensemble\.load reads it"):
        iz.load_model(path)
    iz.save_weights(members[0], tmp_path / "one.safetensors")
    with pytest.raises(iz.FileError, match="holds no ensemble; load_model reads a single model"):
        iz.Ensemble.load(tmp_path / "one.safetensors")
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(iz.FileError, match="do not match its own digest"):
        iz.Ensemble.load(path)


def test_the_default_device(members, tmp_path):
    """As `load_model`, `load` puts the members on torch's default device. Other functions follow the members."""
    path, x = tmp_path / "all.safetensors", noise(4, 3, 16, 16)
    loader = batches()
    iz.Ensemble(members, [1, 2, 3]).save(path)
    with torch.device("meta"):
        assert {value.device.type for value in iz.Ensemble.load(path).state_dict().values()} == {"meta"}
        ensemble = iz.Ensemble(members, [1, 2, 3]).eval()
        weights = ensemble.fit_weights(loader)
    other = iz.Ensemble(members)
    assert weights == other.fit_weights(loader)
    assert ensemble(x).equal(other.eval()(x))


def test_export_and_compile(members):
    ensemble, x = iz.Ensemble(members).eval(), noise(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.export(ensemble, (x,)).module()(x), ensemble(x))
        torch.compiler.reset()
        torch.testing.assert_close(torch.compile(ensemble, backend="eager", fullgraph=True)(x), ensemble(x))


def test_weights_may_be_those_of_another_ensemble(members):
    first = iz.Ensemble(members, [3, 2, 1])
    assert torch.equal(iz.Ensemble(members, first.weights).weights, first.weights)
    first.set_weights(torch.tensor([0, 0, 2]))
    assert first.weights.tolist() == [0, 0, 1]


def test_fit_weights_prefers_the_best_member(members):
    """The one trained member gets the largest weight."""
    loader = [(images + 3 * torch.eye(3)[targets][:, :, None, None], targets) for images, targets in batches()]
    iz.fit(members[1], loader, epochs=30, lr=0.05)
    ensemble = iz.Ensemble(members)
    before = iz.evaluate(ensemble, loader).loss
    weights = ensemble.fit_weights(loader)
    assert sum(weights) == pytest.approx(1)
    assert max(range(3), key=weights.__getitem__) == 1
    assert iz.evaluate(ensemble, loader).loss < before
    assert ensemble.weights.tolist() == pytest.approx(weights)


@one_thread()
def test_fit_weights_does_not_depend_on_the_order(members):
    images, targets = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    shown = images + 3 * torch.eye(3)[targets][:, :, None, None]
    iz.fit(members[1], [(shown, targets)], epochs=30, lr=0.05)
    data = torch.utils.data.TensorDataset(shown, targets)
    straight, shuffled = (
        iz.Ensemble(members).fit_weights(torch.utils.data.DataLoader(data, 4, shuffle=shuffle)) for shuffle in (False, True)
    )
    assert shuffled == pytest.approx(straight, abs=1e-3)
    assert iz.Ensemble(members).fit_weights(iter([(shown, targets)])) == pytest.approx(straight, abs=1e-3)


def test_fit_weights_reads_the_loader_outside_of_inference_mode(members):
    """Its tensors can be kept for a training."""
    kept = []

    def loader():
        for _ in range(2):
            kept.append(torch.rand(4, 3, 16, 16))
            yield kept[-1], torch.arange(4) % 3

    iz.Ensemble(members).fit_weights(loader())
    assert not any(images.is_inference() for images in kept)


def test_fit_weights_leaves_the_weights_on_an_error(members):
    ensemble = iz.Ensemble(members, [1, 2, 1]).train()
    for loader, text in (([(noise(2, 3, 16, 16), torch.tensor([0, 3]))], "targets from 0 to 3"), ([], "gave no batch")):
        with pytest.raises(iz.ArgumentError, match=text):
            ensemble.fit_weights(loader)
        assert ensemble.weights.tolist() == [0.25, 0.5, 0.25]
        assert ensemble.training


@one_thread()
def test_an_ensemble_beats_the_mean_of_its_members():
    """On scikit-learn's digits, the ensemble has a lower loss and a higher accuracy than the mean of its members."""
    images, targets = load_digits(return_X_y=True)
    small = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16 - 0.5
    x, y = torch.nn.functional.interpolate(small, size=(16, 16)), torch.tensor(targets)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    parts = (order[:640], order[640:1280])
    train, held_out = (list(zip(x[part].split(64), y[part].split(64), strict=True)) for part in parts)
    network = iz.network(a=iz.Conv(8, 3, 2), b=iz.inception(4, 4, 8, 2, 4, 4))
    iz.register_model("digits", network, num_classes=10, input_size=(1, 16, 16))
    try:
        members = []
        for seed in range(3):
            torch.manual_seed(seed)
            members.append(iz.create_model("digits"))
            iz.fit(members[-1], train, epochs=20, lr=0.1, seed=seed)
        alone = [iz.evaluate(member, held_out) for member in members]
        together = iz.evaluate(iz.Ensemble(members), held_out)
    finally:
        del REGISTRY["digits"]
    assert min(result.accuracy for result in alone) > 0.5
    assert together.loss < sum(result.loss for result in alone) / 3
    assert together.accuracy > sum(result.accuracy for result in alone) / 3


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda members: iz.Ensemble([]), r"members=\[\] must be one or more models"),
        (lambda members: iz.Ensemble([torch.nn.Linear(1, 1)]), "model is a Linear; Ensemble takes a model"),
        (lambda members: iz.Ensemble([torch.nn.DataParallel(members[0])]), "pass the model in it: model.module"),
        (lambda members: iz.Ensemble([iz.Ensemble(members)]), r"pass the model in it: model.get_submodule\('members.0'\)"),
        (lambda members: iz.Ensemble(7), "model is an int; Ensemble takes a model"),
        (
            lambda members: iz.Ensemble([members[0], iz.create_model("wide", num_classes=4)]),
            r"differ in num_classes: \[3, 4\]",
        ),
        (
            lambda members: iz.Ensemble([members[0], iz.create_model("wide", in_chans=1)]),
            r"differ in in_chans: \[3, 1\]",
        ),
        (
            lambda members: iz.Ensemble([members[0], iz.create_model("wide", dtype=torch.float64)]),
            r"differ in dtype: \[torch.float32, torch.float64\]",
        ),
        (
            lambda members: iz.Ensemble([iz.create_model("wide", device="meta")]).save("no.safetensors"),
            "the model is on the meta device and holds no weights",
        ),
        (lambda members: iz.Ensemble([iz.create_model("wide", num_classes=0)]), "num_classes=0 have no probabilities"),
        (
            lambda members: iz.Ensemble([members[0], with_task(members[0], "regression")]),
            "differ in task: .'multiclass', 'regr",
        ),
        (lambda members: iz.Ensemble(members, [1, 2]), r"weights=\[1, 2\] must be 3 numbers, one for each member"),
        (lambda members: iz.Ensemble(members, 0.5), "weights=0.5 must be 3 numbers, one for each member"),
        (lambda members: iz.Ensemble(members, torch.tensor(0.5)), "weights=0.5 must be 3 numbers, one for each member"),
        (lambda members: iz.Ensemble(members, torch.ones(3, 1)), r"weights=\[1.0\] must be a finite number"),
        (lambda members: iz.Ensemble(members, [1, 2, -1]), "weights=-1"),
        (lambda members: iz.Ensemble(members, [0, 0, 0]), "must not all be 0"),
    ],
)
def test_refusals(members, make, text):
    with pytest.raises(iz.ArgumentError, match=text):
        make(members)


class Doubled(iz.Ensemble):
    def forward(self, x):
        return 2 * super().forward(x)


CHANGES = {
    "a class": (lambda ensemble: setattr(ensemble, "__class__", Doubled), "forward"),
    "a method": (lambda ensemble: setattr(ensemble, "forward", lambda x: x), "forward"),
    "a module": (lambda ensemble: setattr(ensemble, "calibration", torch.nn.Linear(3, 3)), "calibration"),
    "a parameter": (lambda ensemble: setattr(ensemble, "temperature", torch.nn.Parameter(torch.ones(1))), "temperature"),
    "data": (lambda ensemble: setattr(ensemble, "data", dataclasses.replace(ensemble.data, crop_pct=0.5)), "data"),
    "data of a member": (
        lambda ensemble: setattr(ensemble.members[1], "data", dataclasses.replace(ensemble.members[1].data, mean=(0.1,) * 3)),
        r"members\[1\].data",
    ),
    "one more member": (lambda ensemble: ensemble.members.append(ensemble.members[0]), "members"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_changed_ensemble_is_not_saved(members, case, tmp_path):
    change, name = CHANGES[case]
    ensemble = iz.Ensemble(members)
    change(ensemble)
    with pytest.raises(iz.ArgumentError, match=f"the ensemble cannot be saved: its {name} was changed, which a file"):
        ensemble.save(tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_members_that_no_longer_agree_are_not_saved(members, tmp_path):
    ensemble = iz.Ensemble(members)
    members[1].class_names = ["a", "b", "c"]
    with pytest.raises(iz.ArgumentError, match="members differ in class_names"):
        ensemble.save(tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_names_given_to_an_ensemble_are_saved(members, tmp_path):
    ensemble = iz.Ensemble(members)
    ensemble.class_names = ["a", "b", "c"]
    ensemble.save(tmp_path / "a.safetensors")
    assert iz.Ensemble.load(tmp_path / "a.safetensors").class_names == ("a", "b", "c")


def test_hooks_of_an_ensemble_are_named(members, tmp_path):
    ensemble = iz.Ensemble(members)
    ensemble.register_forward_hook(lambda module, x, y: 2 * y)
    with pytest.warns(UserWarning, match="the model has the hooks .*, which the file does not hold"):
        ensemble.save(tmp_path / "a.safetensors")


@pytest.mark.parametrize(("task", "outputs"), [("binary", 1), ("multilabel", 3), ("regression", 2)])
def test_the_mean_of_each_task(members, task, outputs, tmp_path):
    nets = members[:2]
    for net in nets:
        net.reset_classifier(outputs)
        net.task = task
    ensemble = iz.Ensemble(nets, [1, 3])
    pixels = torch.rand(5, 3, 16, 16)
    with torch.no_grad():
        output = ensemble((pixels - 0.5) / 0.5)
        parts = []
        for net in nets:
            mean, std = (torch.tensor(values)[:, None, None] for values in (net.data.mean, net.data.std))
            logits = net((pixels - mean) / std)
            parts.append(logits if task == "regression" else logits.sigmoid())
    torch.testing.assert_close(output if task == "regression" else output.sigmoid(), parts[0] / 4 + 3 * parts[1] / 4)
    ensemble.save(tmp_path / "e.safetensors")
    again = iz.Ensemble.load(tmp_path / "e.safetensors")
    targets = {"binary": torch.arange(5) % 2, "multilabel": torch.ones(5, 3), "regression": torch.ones(5, 2)}[task]
    assert iz.evaluate(again, [(pixels, targets)]).task == task
    assert len(iz.predict(again, (pixels[0] - 0.5) / 0.5)) == (2 if task == "binary" else outputs)
    if task == "binary":
        assert sum(ensemble.fit_weights([(pixels, targets)])) == pytest.approx(1)
    else:
        with pytest.raises(iz.ArgumentError, match=f"fit_weights: the task of the members is '{task}'"):
            ensemble.fit_weights([(pixels, targets)])


def test_an_ensemble_follows_changes_of_its_members(members):
    ensemble, image = iz.Ensemble(members), torch.zeros(3, 16, 16)
    ensemble.class_names = ["a", "b", "c"]
    assert [member.class_names for member in members] == [("a", "b", "c")] * 3
    for member in members:
        member.reset_classifier(1)
        member.task = "regression"
    assert (ensemble.num_classes, ensemble.class_names, ensemble.task) == (1, None, "regression")
    ((name, value),) = iz.predict(ensemble, image)
    with torch.no_grad():
        assert (name, value) == ("0", pytest.approx(float(ensemble(image[None])), abs=1e-6))


def test_weights_are_fitted_to_classes_by_name(members):
    """The data have the classes in another order; the weights are those of the same targets in the models' order."""
    ensemble = iz.Ensemble(members)
    images, targets = batches()[0]
    expected = ensemble.fit_weights([(images, targets)])
    for member in members:
        member.set_class_names(["a", "b", "c"])
    data = torch.utils.data.TensorDataset(images, (targets + 1) % 3)
    data.classes = ["c", "a", "b"]
    assert iz.Ensemble(members).fit_weights(torch.utils.data.DataLoader(data, 12)) == pytest.approx(expected, abs=1e-6)
    assert max(expected) - min(expected) > 0.01
