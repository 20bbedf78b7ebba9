"""The class names of data sets, and their comparison with those of a model."""

from types import SimpleNamespace

import numpy
import pytest
import torch
from helpers import noise
from PIL import Image
from scores import Score, as_images
from timm.data import create_dataset
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset, random_split

import inceptionzoo as iz
from inceptionzoo.evaluation import find_class_names

NAMES = ["cat", "dog", "emu"]


def data(classes: object = None, targets: object = (0, 1, 2, 0), **attributes: object) -> TensorDataset:
    """Return a data set with class names; its images have a logit of 5 for their target in the order of `NAMES`."""
    targets = torch.tensor(targets)
    names = NAMES if classes is None else classes
    logits = torch.stack([5.0 * torch.eye(3)[NAMES.index(names[target])] for target in targets])
    result = TensorDataset(as_images(logits), targets)
    result.classes = names
    for name, value in attributes.items():
        setattr(result, name, value)
    return result


class Wrapper(torch.utils.data.Dataset):
    def __init__(self, subset: object) -> None:
        self.subset = subset


FOUND = {
    "loader": (DataLoader(data()), NAMES),
    "data set": (data(), NAMES),
    "split": (DataLoader(random_split(data(), [3, 1])[1]), NAMES),
    "subset of a subset": (Subset(Subset(data(), [0, 1]), [0]), NAMES),
    "parts": (DataLoader(ConcatDataset([data(), Subset(data(), [1])])), NAMES),
    "wrapped": (DataLoader(Wrapper(Subset(data(), [1]))), NAMES),
    "wrapped loader": (SimpleNamespace(dataloader=DataLoader(data())), NAMES),
    "features": (SimpleNamespace(features={"image": None, "label": SimpleNamespace(names=NAMES)}), NAMES),
    "numbers": (SimpleNamespace(classes=numpy.arange(2)), ["0", "1"]),
    "synonyms": (SimpleNamespace(classes=[("tench", "Tinca"), ("crane",)]), ["tench, Tinca", "crane"]),
    "equal names": (SimpleNamespace(classes=["crane", "crane"]), None),
    "no list": (SimpleNamespace(classes="abc"), None),
    "other targets": (SimpleNamespace(classes=NAMES, target_transform=abs), None),
    "batches": ([(torch.zeros(1), torch.zeros(1))], None),
    "nothing": (None, None),
}


@pytest.mark.parametrize(("loader", "names"), FOUND.values(), ids=FOUND)
def test_names_are_found(loader, names):
    assert find_class_names(loader) == (None if names is None else tuple(names))


def test_parts_with_other_names_are_refused():
    with pytest.raises(
        iz.ArgumentError, match=r"ConcatDataset have the classes \['cat', 'dog', 'emu'\], \['dog', 'cat', 'emu'\]"
    ):
        find_class_names(ConcatDataset([data(), data(["dog", "cat", "emu"])]))


@pytest.mark.parametrize(
    ("classes", "targets"),
    [(["emu", "cat", "dog"], (0, 1, 2, 2)), (["cat", "emu"], (0, 1, 1, 0)), (["dog"], (0, 0)), (NAMES, (2, 1, 0))],
    ids=str,
)
def test_targets_are_numbered_as_in_the_model(classes, targets):
    """Every logit is right, so that the accuracy is 1 only if each target has the model's number of its class."""
    result = iz.evaluate(Score(tuple(NAMES)), DataLoader(data(classes, targets), 2))
    assert result.accuracy == 1
    assert [NAMES[target] for target in result.targets] == [classes[target] for target in targets]


def test_soft_labels_and_ignored_targets_are_numbered_too():
    model, names = Score(tuple(NAMES)), ["emu", "cat"]
    logits = as_images(5.0 * torch.eye(3)[[2, 0]])
    loader = DataLoader(data(names, (0, 1)), 2, collate_fn=lambda items: (logits, torch.tensor([[0.9, 0.1], [0.2, 0.8]])))
    assert iz.evaluate(model, loader).targets.tolist() == [2, 0]
    loader = DataLoader(data(names, (0, 1)), 2, collate_fn=lambda items: (logits, torch.tensor([0, -100])))
    assert iz.evaluate(model, loader, loss=nn.CrossEntropyLoss()).targets.tolist() == [2]


def test_labels_and_one_logit_are_numbered_too():
    labels = SimpleNamespace(classes=["emu", "cat"])

    class Loader(list):
        dataset = labels

    truth = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loader = Loader([(as_images(noise(2, 3)), truth)])
    assert iz.evaluate(Score(tuple(NAMES)), loader, task="multilabel").targets.tolist() == [[0, 0, 1], [1, 0, 0]]
    for dtype in (torch.int64, torch.bool, torch.float32):
        loader = Loader([(as_images(noise(2, 1)), torch.tensor([0, 1]).to(dtype))])
        assert iz.evaluate(Score(("cat", "emu")), loader).targets.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("model", "classes", "text"),
    [
        (
            NAMES,
            ["cat", "wolf", "emu"],
            r"has the classes \['cat', 'wolf', 'emu'\], the model has \['cat', 'dog', 'emu'\]: 'wolf'",
        ),
        (None, ["cat", "dog"], r"loader has 2 classes, \['cat', 'dog'\], and the model has num_classes=3; .*num_classes=2"),
    ],
)
def test_classes_that_do_not_fit_are_refused(model, classes, text):
    loader = DataLoader(data(NAMES), 4)
    loader.dataset.classes = classes
    with pytest.raises(iz.ArgumentError, match=text):
        iz.evaluate(Score(model and tuple(model)), loader)


def test_a_target_without_a_name_is_refused():
    loader = DataLoader(data(NAMES), 4)
    loader.dataset.classes = ["emu", "cat"]
    with pytest.raises(iz.ArgumentError, match=r"targets from 0 to 2 must lie in 0..1, because the data has 2 class names"):
        iz.evaluate(Score(tuple(NAMES)), loader)


def test_names_of_a_folder_of_timm(tmp_path):
    for index, name in enumerate(("emu", "cat")):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / f"{index}.png")
    assert find_class_names(DataLoader(create_dataset("", str(tmp_path)))) == ("cat", "emu")
    assert find_class_names(SimpleNamespace(class_names=["cat", "emu"])) == ("cat", "emu")


def test_names_of_class_to_idx():
    """Its numbers are those of the targets, as in a torchvision data set with a `find_classes` of one's own."""
    images = SimpleNamespace(class_to_idx={"dog": 1, "cat": 0, "emu": 2})
    assert find_class_names(images) == ("cat", "dog", "emu")
    for numbers in ({"dog": 1, "cat": 2}, {"dog": 0, "cat": 0}, {"dog": "0"}, {}):
        assert find_class_names(SimpleNamespace(class_to_idx=numbers)) is None
    synonyms = SimpleNamespace(
        classes=[("cat", "felis"), ("dog", "canis")], class_to_idx={"cat": 0, "felis": 0, "dog": 1, "canis": 1}
    )
    assert find_class_names(synonyms) == ("cat, felis", "dog, canis")  # as in torchvision's ImageNet
    agreed = SimpleNamespace(classes=["cat", "dog"], class_to_idx={"dog": 1, "cat": 0})
    assert find_class_names(agreed) == ("cat", "dog")
    with pytest.raises(
        iz.ArgumentError, match=r"classes=\['cat', 'dog'\], and its class_to_idx has another order, \['dog', 'cat'\]"
    ):
        find_class_names(SimpleNamespace(classes=["cat", "dog"], class_to_idx={"dog": 0, "cat": 1}))


@pytest.mark.parametrize("wrap", [nn.DataParallel, AveragedModel, lambda model: AveragedModel(nn.DataParallel(model))])
def test_a_wrapper_has_the_names_and_the_task_of_the_model_inside(register, wrap):
    register("tiny", iz.network(conv=iz.Conv(4, 3)), num_classes=1, input_size=(3, 8, 8))
    model = iz.create_model("tiny")
    images, values = noise(6, 3, 8, 8), (torch.arange(6) % 2).float()  # values that fit "binary" too
    model.task = "regression"
    assert repr(iz.evaluate(wrap(model), [(images, values)])) == repr(iz.evaluate(model, [(images, values)]))
    model.task = "binary"
    model.set_class_names(["no", "yes"])
    swapped = TensorDataset(images, values)
    swapped.classes = ["yes", "no"]
    result = iz.evaluate(wrap(model), DataLoader(swapped, 6))
    assert result.class_names == ("no", "yes")
    assert result.targets.tolist() == (1 - values).tolist()
    with pytest.raises(iz.ArgumentError, match="task='multiclass'"):
        iz.evaluate(wrap(model), [(images, values)], task="multiclass")
