"""predict and transforms."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import noise, tiny_network
from PIL import Image
from timm.data import create_transform
from torch import Tensor

import inceptionzoo as iz


@pytest.fixture(scope="module")
def model() -> iz.Net:
    torch.manual_seed(0)
    model = iz.create_model("googlenet", num_classes=3).train()
    model.set_input_size(48)
    model.set_class_names(["a", "b", "c"])
    return model


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_a_path_an_image_and_a_tensor_give_the_same_answer(model, picture):
    answers = iz.predict(model, picture)
    assert model.training
    assert sorted(name for name, _ in answers) == ["a", "b", "c"]
    assert [p for _, p in answers] == sorted((p for _, p in answers), reverse=True)
    assert sum(p for _, p in answers) == pytest.approx(1, abs=1e-6)
    with Image.open(picture) as opened:
        assert iz.predict(model, opened) == iz.predict(model, str(picture)) == answers
        prepared = iz.transforms(model)(opened)
    assert iz.predict(model, prepared) == answers
    assert iz.predict(model, picture, topk=1) == answers[:1]
    with torch.no_grad():
        expected = model.eval()(prepared[None]).softmax(1)[0]
    model.train()
    assert dict(answers)["b"] == pytest.approx(expected[1].item(), abs=1e-6)


def test_transforms_use_the_models_data(model, picture):
    with Image.open(picture) as opened:
        plain, training = iz.transforms(model)(opened), iz.transforms(model, training=True, scale=(0.5, 1.0))(opened)
        white = iz.transforms(model)(Image.new("RGB", (80, 60), "white"))
    assert plain.shape == training.shape == (3, 48, 48)
    assert white.unique().tolist() == [1.0]  # mean and std of 0.5
    assert not plain.equal(training)


def test_one_channel_and_no_class_names(picture):
    model = iz.create_model("googlenet_cifar", num_classes=2, in_chans=1)
    answers = iz.predict(model, picture)
    assert sorted(name for name, _ in answers) == ["0", "1"]


def test_integers_of_numpy(model, picture):
    one = np.int64(1)
    assert [len(answer) for answer in iz.predict(model, [picture] * 2, topk=one, batch_size=one)] == [1, 1]


def test_refusals(model, picture):
    with pytest.raises(iz.ArgumentError, match="num_classes=0"):
        iz.predict(iz.create_model("googlenet_cifar", num_classes=0), picture)
    with pytest.raises(iz.ArgumentError, match="topk=0 must be an int from 1 to"):
        iz.predict(model, picture, topk=0)
    with pytest.raises(iz.ArgumentError, match="transforms: unknown option vflop=0.5; did you mean 'vflip'?"):
        iz.transforms(model, vflop=0.5)
    with pytest.raises(iz.ArgumentError, match="unknown option train=True; did you mean 'training'"):
        iz.transforms(model, train=True)
    with pytest.raises(iz.ArgumentError, match="image of type int"):
        iz.predict(model, 7)
    with pytest.raises(iz.ArgumentError, match="batch_size=0 must be an int from 1 to"):
        iz.predict(model, picture, batch_size=0)
    with pytest.raises(iz.ArgumentError, match=r"image of shape \(1, 3, 48, 48\) must have shape \(c, height, width\)"):
        iz.predict(model, torch.zeros(1, 3, 48, 48))
    with pytest.raises(iz.ArgumentError, match=r"image of shape \(48, 48\) must have .*; pass image\[None\]$"):
        iz.predict(model, torch.zeros(48, 48))
    with pytest.raises(iz.ArgumentError, match="in_chans=5 takes no image file"):
        iz.predict(iz.create_model("googlenet_cifar", in_chans=5), picture)


def tiny(in_chans: int = 3) -> iz.Net:
    """Return a small model of two classes for images of 16 px."""
    torch.manual_seed(0)
    model = iz.build(tiny_network(), in_channels=in_chans).eval()
    model.reset_classifier(2)
    model.set_input_size(16)
    return model


def probability(model: iz.Net, image: object) -> float:
    return dict(iz.predict(model, image))["0"]


GREY = np.linspace(0, 255, 20 * 30).reshape(20, 30).round().astype(np.uint8)
FORMS = {
    "PNG": lambda folder: saved(Image.fromarray(GREY), folder / "x.png"),
    "TIFF": lambda folder: saved(Image.fromarray(GREY).convert("RGB"), folder / "x.tif"),
    "BMP": lambda folder: saved(Image.fromarray(GREY), folder / "x.bmp"),
    "palette": lambda folder: saved(Image.fromarray(GREY).convert("P"), folder / "x.gif"),
    "opaque": lambda folder: saved(Image.fromarray(GREY).convert("RGBA"), folder / "x.png"),
    "16 bits": lambda folder: saved(Image.fromarray(GREY.astype(np.uint16) * 257), folder / "x.png"),
    "CMYK": lambda folder: saved(Image.fromarray(GREY).convert("CMYK"), folder / "x.tif"),
    "bytes": lambda folder: saved(Image.fromarray(GREY), folder / "x.png").read_bytes(),
    "array": lambda _: GREY,
    "uint16 array": lambda _: GREY.astype(np.uint16) * 257,
    "float array": lambda _: GREY / 255,
    "uint8 Tensor": lambda _: torch.from_numpy(GREY)[None],
    "uint8 Tensor in colour": lambda _: torch.from_numpy(GREY).expand(3, -1, -1),
}


def saved(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("in_chans", [1, 3, 4])
def test_the_form_of_a_picture_does_not_change_the_answer(tmp_path, form, in_chans):
    model, source = tiny(in_chans), FORMS[form](tmp_path)
    expected = probability(model, Image.fromarray(GREY))
    assert probability(model, source) == pytest.approx(expected, abs=1e-6)
    assert probability(model, iz.transforms(model)(source)) == pytest.approx(expected, abs=1e-6)
    assert probability(model, Image.fromarray(255 - GREY)) != pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F", "I;16"])
@pytest.mark.parametrize("training", [False, True])
def test_transforms_convert_every_mode(mode, training):
    for in_chans in (1, 3, 4):
        prepare = pickle.loads(pickle.dumps(iz.transforms(tiny(in_chans), training=training)))
        assert prepare(Image.new(mode, (20, 30))).shape == (in_chans, 16, 16)


def test_transforms_in_three_parts_and_of_other_channels():
    first, second, third = iz.transforms(tiny(), training=True, separate=True)
    assert third(second(first(GREY))).shape == (3, 16, 16)
    built = iz.build(tiny_network(), in_channels=1)  # its data still has the default of three channels
    assert iz.transforms(built)(GREY).shape == (1, 224, 224)
    prepare = iz.transforms(iz.create_model("googlenet_cifar", in_chans=5))
    assert prepare(torch.rand(5, 40, 50)).shape == (5, 32, 32)


@pytest.mark.parametrize(
    "image",
    [
        torch.full((3, 16, 16), 255.0),
        torch.full((3, 16, 16), 3.3),
        torch.full((3, 16, 16), -2.6),
        torch.full((3, 16, 16), torch.nan),
        torch.full((3, 16, 16), torch.inf),
        noise(3, 16, 16) * 2,
    ],
    ids=["pixels as floats", "too bright", "too dark", "nan", "inf", "noise"],
)
def test_values_that_the_normalisation_cannot_give_are_refused(image):
    with pytest.raises(
        iz.ArgumentError, match=r"is not normalised as model.data says, which gives -2\.118 to 2\.64; pass trans"
    ):
        iz.predict(tiny(), image)
    with pytest.raises(iz.ArgumentError, match="not normalised"):
        iz.predict(tiny(), [torch.zeros(3, 16, 16), image])


def test_the_ends_of_the_range_and_an_overshoot_are_accepted():
    model = tiny()
    for value in (0, 255):
        iz.predict(model, iz.transforms(model)(Image.new("RGB", (16, 16), (value,) * 3)))
    iz.predict(model, torch.full((3, 16, 16), 2.5))
    iz.predict(model, torch.full((3, 16, 16), -2.1).bfloat16())


def test_a_tensor_that_was_not_normalised_warns():
    """torchvision's ToTensor gives values from 0 to 1, which the normalisation of ImageNet can give too."""
    model, pixels = tiny(), torch.linspace(0, 1, 3 * 16 * 16).reshape(3, 16, 16)
    with pytest.warns(UserWarning, match=r"from 0 to 1 looks as if it were not normalised; .* -2\.118 to 2\.64") as warned:
        iz.predict(model, pixels)
    assert [warning.filename for warning in warned] == [__file__]
    iz.predict(model, pixels * 0.4)  # a picture of little contrast, without a warning
    model.data = replace(model.data, mean=(0.0,) * 3, std=(1.0,) * 3)
    iz.predict(model, pixels)


@pytest.mark.parametrize(
    ("field", "values"), [("mean", (123.68, 116.78, 103.94)), ("std", (58.4, 57.1, 57.4))], ids=["mean", "std"]
)
def test_a_normalisation_of_pixels_up_to_255_is_refused(field, values):
    """Caffe and Keras write mean=(103.94, ...). After the division by 255 all images would look alike."""
    model = tiny()
    with pytest.raises(iz.ArgumentError, match=f"{field}=.* must be from 0 to 1, .*; divide {field} by 255"):
        iz.transforms(model, **{field: values})
    model.data = replace(model.data, **{field: values})
    with pytest.raises(iz.ArgumentError, match=f"{field}=.* must be from 0 to 1"):
        iz.predict(model, GREY)
    model.data = replace(model.data, **{field: tuple(value / 255 for value in values)})
    iz.predict(model, GREY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": (0.5, 1.0)}, r"scale=\(0.5, 1.0\) has no effect with training=False; .* or pass training=True"),
        ({"re_prob": 0.5}, "re_prob=0.5 has no effect"),
        ({"training": True, "crop_pct": 1.0}, "crop_pct=1.0 has no effect with training=True"),
        ({"is_training": True}, "pass training=True in place of is_training"),
        ({"crop_mode": "squeeze"}, "crop_mode='squeeze' must be one of"),
        ({"crop_pct": 0}, "crop_pct=0 must be a number above 0"),
        ({"interpolation": "linear"}, "interpolation='linear' is not one of timm's"),
        ({"training": True, "auto_augment": "rand-m9"}, "auto_augment is for images of 1 or 3 channels"),
    ],
    ids=str,
)
def test_options_that_timm_would_ignore_are_refused(options, message):
    with pytest.raises(iz.ArgumentError, match=message):
        iz.transforms(tiny(4), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_crop_mode": "half"}, "timm does not accept train_crop_mode='half': AssertionError"),
        ({"auto_augment": "more"}, "timm does not accept auto_augment='more': AssertionError"),
        ({"re_mode": "more", "re_prob": 1.0}, "timm does not accept re_mode='more', re_prob=1.0: AssertionError"),
        ({"hflip": "x"}, "timm does not accept hflip='x': TypeError"),
        ({"scale": 3}, "timm does not accept scale=3: TypeError"),
        ({"input_size": 0}, r"input_size=0 must be a positive int, \(height, width\) or \(3, height, width\)"),
        ({"input_size": (3, 16, -1)}, r"input_size=\(3, 16, -1\) must be a positive int"),
        ({"input_size": "16"}, "input_size='16' must be a positive int"),
        ({"input_size": (1, 16, 16)}, r"input_size=\(1, 16, 16\): the model has in_chans=3; pass \(3, height, width\)"),
        ({"mean": None}, "mean=None must be numbers from 0 to 1"),
        ({"std": 0}, "std=0 must be numbers from 0 to 1; std must be above 0"),
        ({"training": False, "interpolation": "random"}, "interpolation='random' is not one of timm's"),
        ({"training": False, "no_aug": True}, "no_aug=True has no effect with training=False"),
        ({"no_aug": True, "scale": (0.5, 1)}, r"scale=\(0.5, 1\) has no effect with no_aug=True"),
        ({"auto_augment": "rand-m9", "color_jitter": 0.2}, "color_jitter=0.2 has no effect with auto_augment='rand-m9'"),
        ({"re_mode": "pixel"}, "re_mode='pixel' has no effect without re_prob"),
        ({"tf_preprocessing": True}, "tf_preprocessing=True has no effect on the images of these models"),
        ({"max_seq_len": 9}, "max_seq_len=9 has no effect"),
        ({"patch_size": 9}, "patch_size=9 has no effect without patchify"),
    ],
    ids=str,
)
def test_values_that_timm_does_not_accept(options, message):
    with pytest.raises(iz.ArgumentError, match=message):
        iz.transforms(tiny(), **{"training": True, **options})


@pytest.mark.parametrize("size", [16, np.int64(16), (16, 16), [3, 16, 16]])
def test_the_forms_of_a_size(size):
    assert iz.transforms(tiny(), input_size=size)(Image.new("RGB", (30, 20))).shape == (3, 16, 16)


def test_options_that_go_together():
    for options in ({"auto_augment": "3a", "color_jitter": 0.2}, {"re_prob": 1.0, "re_mode": "pixel"}, {"no_aug": True}):
        assert iz.transforms(tiny(), training=True, **options)(GREY).shape == (3, 16, 16)


def test_integers_other_than_bytes_are_refused():
    with pytest.raises(iz.ArgumentError, match="dtype int64, which does not say which value is white"):
        iz.predict(tiny(), torch.zeros(3, 16, 16, dtype=torch.int64))


def pictures(folder: Path) -> list[Path]:
    """Write seven images into two folders, and a text file."""
    paths = []
    for index in range(7):
        values = np.random.default_rng(index).integers(0, 256, (20, 20 + index, 3), dtype=np.uint8)
        (folder / "ab"[index % 2]).mkdir(exist_ok=True)
        paths.append(saved(Image.fromarray(values), folder / "ab"[index % 2] / f"{index}.{'PNG' if index == 3 else 'png'}"))
    (folder / "a" / "notes.txt").write_text("no image")
    return paths


class Counted(torch.nn.Module):
    """Keep the batch sizes of a hooked model."""

    def __init__(self, model: iz.Net) -> None:
        super().__init__()
        self.sizes: list[int] = []
        model.register_forward_pre_hook(lambda _, inputs: self.sizes.append(len(inputs[0])))


def close(answers: object, expected: object) -> bool:
    return [[name for name, _ in answer] for answer in answers] == [
        [name for name, _ in answer] for answer in expected
    ] and all(
        value == pytest.approx(other, abs=1e-6)
        for answer, reference in zip(answers, expected, strict=True)
        for (_, value), (_, other) in zip(answer, reference, strict=True)
    )


def test_lists_and_folders_run_in_batches(tmp_path):
    model, paths = tiny(), pictures(tmp_path)
    expected = [iz.predict(model, path) for path in paths]
    assert len({round(answer[0][1], 6) for answer in expected}) == 7
    counted = Counted(model)
    assert close(iz.predict(model, paths, batch_size=3), expected)
    assert counted.sizes == [3, 3, 1]
    assert close(iz.predict(model, tuple(map(str, paths))), expected)
    assert close(iz.predict(model, (path for path in paths)), expected)
    assert close(iz.predict(model, iter(paths), topk=1), [answer[:1] for answer in expected])
    mixed = [
        paths[0],
        Image.open(paths[1]),
        paths[2].read_bytes(),
        iz.transforms(model)(paths[3]),
        np.asarray(Image.open(paths[4])),
    ]
    assert close(iz.predict(model, mixed), expected[:5])
    answers = iz.predict(model, tmp_path, batch_size=4)
    assert list(answers) == sorted(map(str, paths))
    assert close(list(answers.values()), [expected[paths.index(Path(path))] for path in answers])
    assert iz.predict(model, str(tmp_path / "a")).keys() == {str(path) for path in paths[::2]}
    assert iz.predict(model, []) == []


def test_images_of_a_folder_that_are_left_out_are_named(tmp_path):
    model, paths = tiny(), pictures(tmp_path)
    for name in ("x.gif", "y.jp2"):
        Image.fromarray(GREY).save(tmp_path / "a" / name)
    with pytest.warns(UserWarning, match=r"2 files such as '.*x\.gif' are left out.*takes a list of their paths") as warned:
        assert len(iz.predict(model, tmp_path)) == len(paths)
    assert [warning.filename for warning in warned] == [__file__]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    folder = tmp_path / ".hidden"  # only what is below the folder counts
    folder.mkdir()
    paths = pictures(folder)
    for hidden in ("a/._0.png", ".ipynb_checkpoints/0-checkpoint.png", "__MACOSX/a/0.png", "a/.thumbnails/0.gif"):
        (folder / hidden).parent.mkdir(parents=True, exist_ok=True)
        (folder / hidden).write_bytes(paths[0].read_bytes())
    assert list(iz.predict(tiny(), folder)) == sorted(map(str, paths))


def test_the_error_names_what_is_wrong_with_the_model():
    model = tiny()
    with pytest.raises(iz.ArgumentError, match=r"DataParallel must be a model .*; pass model\.module"):
        iz.predict(torch.nn.DataParallel(model), GREY)
    with pytest.raises(iz.ArgumentError, match=r"model of type str must be .*; pass load_model\('best.safetensors'\)$"):
        iz.predict("best.safetensors", GREY)
    ensemble = iz.Ensemble([model])
    ensemble.data = {"mean": (0.5, 0.5, 0.5)}
    with pytest.raises(iz.ArgumentError, match=r"model\.data={'mean': .* must be a DataConfig"):
        iz.predict(ensemble, GREY)


def test_tensors_of_several_sizes_keep_their_order():
    model = tiny()
    tensors = [noise(3, size, 16, seed=size).clamp(-1, 1) for size in (16, 24, 24, 16)]
    assert close(iz.predict(model, tensors), [iz.predict(model, tensor) for tensor in tensors])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    model, paths = tiny(), pictures(tmp_path)
    paths[5].write_bytes(paths[5].read_bytes()[:200])
    for images in (paths, tmp_path):
        with pytest.raises(iz.ImageError, match="5.png is a damaged image"):
            iz.predict(model, images)
    with pytest.raises(FileNotFoundError, match="missing.png"):
        iz.predict(model, [paths[0], tmp_path / "missing.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(iz.ArgumentError, match="empty' has no image; images are files with .jpg"):
        iz.predict(model, tmp_path / "empty")


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_crop_mode_is_timms(mode, in_chans):
    model, image = tiny(in_chans), Image.fromarray(GREY).convert("L" if in_chans == 1 else "RGB")
    model.data = replace(model.data, crop_mode=mode)
    data = model.data
    theirs = create_transform(
        data.input_size, mean=data.mean, std=data.std, interpolation="bilinear", crop_pct=data.crop_pct, crop_mode=mode
    )
    prepared: Tensor = iz.transforms(model)(image)
    assert prepared.equal(theirs(image))
    assert iz.transforms(tiny(in_chans), crop_mode=mode)(image).equal(prepared)
    assert prepared.equal(iz.transforms(tiny(in_chans))(image)) == (mode == "center")
    assert iz.predict(model, image) == iz.predict(model, prepared)


def test_crop_mode_travels_with_the_model(tmp_path, register):
    register("squashed", tiny_network(), data=iz.DataConfig(input_size=(3, 16, 16), crop_mode="squash"), num_classes=2)
    register("centred", tiny_network(), data=iz.DataConfig(input_size=(3, 16, 16)), num_classes=2)
    model = iz.create_model("squashed").eval()
    assert model.pretrained_cfg["crop_mode"] == "squash"
    iz.save_weights(model, tmp_path / "file.safetensors")
    iz.save_pretrained(model, tmp_path / "folder")
    assert iz.load_model(tmp_path / "file.safetensors").data == model.data
    assert iz.create_model(f"local-dir:{tmp_path}/folder").data == model.data
    plain = iz.create_model("centred")
    assert "crop_mode" not in plain.data.to_json()  # version 0.1 reads the file
    plain.data = model.data
    iz.save_weights(iz.create_model("centred"), tmp_path / "centred.safetensors")
    report = iz.load_weights(plain, tmp_path / "centred.safetensors")
    assert "saved with 'center', here 'squash'" in str(report)
    with pytest.raises(iz.ArgumentError, match="crop_mode='crop' must be one of 'center', 'squash', 'border'"):
        iz.DataConfig(crop_mode="crop")


def own_head(classes: int, names: list[str] | None = None, task: str | None = None) -> iz.Net:
    """Return a model whose logits for any image are 2, -1, 0.5, ..."""
    model = iz.create_model("googlenet_cifar", num_classes=classes).eval()
    model.head.fc.weight.data.zero_()
    model.head.fc.bias.data.copy_(torch.tensor([2.0, -1.0, 0.5])[:classes])
    if task is not None:
        model.task = task
    if names is not None:
        model.set_class_names(names)
    return model


@pytest.mark.parametrize(
    ("names", "answer"), [(None, ["1", "0"]), (["benign", "malignant"], ["malignant", "benign"]), (["ill"], ["ill", "not ill"])]
)
def test_one_logit_is_answered_by_its_sigmoid(names, answer):
    probability = torch.tensor(2.0).sigmoid().item()
    model, image = own_head(1, names), torch.zeros(3, 32, 32)
    assert iz.predict(model, image) == [(answer[0], pytest.approx(probability)), (answer[1], pytest.approx(1 - probability))]
    model.head.fc.bias.data.neg_()
    assert iz.predict(model, image, topk=1) == [(answer[1], pytest.approx(probability))]


def test_labels_have_a_probability_each_and_values_keep_their_order():
    image = torch.zeros(3, 32, 32)
    labels = iz.predict(own_head(3, ["a", "b", "c"], "multilabel"), image)
    assert [name for name, _ in labels] == ["a", "c", "b"]
    assert [value for _, value in labels] == pytest.approx(torch.tensor([2.0, 0.5, -1.0]).sigmoid().tolist())
    assert iz.predict(own_head(3, task="regression"), image) == [("0", 2.0), ("1", -1.0), ("2", 0.5)]
    assert iz.predict(own_head(1, ["age"], task="regression"), image) == [("age", 2.0)]


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "a"], []], ids=str)
def test_one_logit_has_two_names_at_most(names):
    with pytest.raises(iz.ArgumentError, match="class_names"):
        own_head(1, names)


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_the_names_of_other_classes_are_forgotten(classes, tmp_path):
    """A new head has new classes, also if the caller puts it there without `reset_classifier`."""
    model, image = own_head(3, ["a", "b", "c"]), torch.zeros(3, 32, 32)
    model.head.fc = torch.nn.Linear(model.head.fc.in_features, classes)
    assert model.class_names is None
    assert sorted(name for name, _ in iz.predict(model, image)) == [str(index) for index in range(max(classes, 2))]
    result = iz.evaluate(model, [(image[None], torch.zeros(1).long())])
    assert result.class_names == tuple(str(index) for index in range(max(classes, 2)))
    model.head.fc = torch.nn.Linear(model.head.fc.in_features, 3)
    assert model.class_names == ("a", "b", "c")


def test_two_names_of_one_output_are_those_of_a_binary_model():
    model = own_head(1, ["benign", "malignant"])
    for task in ("regression", "multilabel"):
        model.task = task
        assert [name for name, _ in iz.predict(model, torch.zeros(3, 32, 32))] == ["0"]


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], "ab", {"b": 1, "a": 0}], ids=str)
def test_names_that_are_assigned_are_checked(names):
    model = own_head(2, ["x", "y"])
    with pytest.raises(iz.ArgumentError, match="class_names=.* must be 2 different strings"):
        model.class_names = names
    assert model.class_names == ("x", "y")
