"""Files of Keras: our models load them and agree with Keras, which loads ours; files with code or damage are refused."""

import hashlib
import json
import shutil
import sys
import zipfile
from dataclasses import replace

import h5py
import keras
import numpy
import pytest
import torch
from helpers import fill, noise, quick

import inceptionzoo as iz
from inceptionzoo.weights import _keras
from inceptionzoo.zoo._registry import REGISTRY

APPLICATIONS = {  # our name, keywords that make it Keras's network, and a size that is not square
    "xception_keras": (keras.applications.Xception, {}, (75, 98)),
    "inception_v3": (keras.applications.InceptionV3, {"include_pad": False}, (75, 98)),
    "inception_resnet_v2": (keras.applications.InceptionResNetV2, {}, (75, 98)),
    "vgg16": (keras.applications.VGG16, {"head": "pool"}, (32, 56)),
    "vgg19": (keras.applications.VGG19, {"head": "pool"}, (32, 56)),
}
NAMES = quick(APPLICATIONS, ("xception_keras", "vgg16"))
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # keras's conversion to NumPy
TOLERANCE = 1e-5  # of the largest value


def base(name, size=None, **options):
    """Return Keras's network without the classifier, or with one of a few classes, with random weights and statistics."""
    keras.utils.set_random_seed(0)
    build, _, default = APPLICATIONS[name]
    model = build(weights=None, **({"include_top": False, "input_shape": (*(size or default), 3)} | options))
    random = numpy.random.default_rng(1)
    for layer in model.layers:
        for variable in layer.weights:
            kind, shape = variable.path.rpartition("/")[2], variable.shape
            if kind in ("moving_variance", "gamma"):
                variable.assign(random.uniform(0.5, 1.5, shape))
            elif kind in ("beta", "moving_mean", "bias"):
                variable.assign(random.normal(0, 0.2, shape))
    return model


def with_head(network, *, nested):
    """Return a model of three classes on top of Keras's network, as one layer of it or with its layers."""
    inputs = keras.Input(network.input_shape[1:]) if nested else network.input
    x = keras.layers.GlobalMaxPooling2D()(network(inputs) if nested else network.output)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(5, activation="relu")(x)))


def assert_equal_outputs(ours, theirs, images):
    with torch.no_grad():
        ours, theirs = ours(images), theirs(images.permute(0, 2, 3, 1))
    theirs = theirs.permute(0, 3, 1, 2) if theirs.ndim == 4 else theirs
    assert theirs.std() > 0.01 * theirs.abs().max()  # the outputs depend on the images and the channels
    assert (ours - theirs).abs().max() < TOLERANCE * theirs.abs().max()


def equal(a, b):
    return all(value.equal(b.state_dict()[key]) for key, value in a.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_network_without_classifier(name, tmp_path):
    """In a file of its own, nested in a user's model, or with its layers in a user's model; at two sizes."""
    network, (_, options, (height, width)) = base(name), APPLICATIONS[name]
    options = {key: value for key, value in options.items() if key != "include_pad"}  # the layout sets it
    network.save(tmp_path / "base.keras")
    model = iz.create_model(name, weights=tmp_path / "base.keras", num_classes=0, global_pool="", **options).eval()
    assert (model.num_classes, model.report.layout, model.report.dropped) == (0, "keras", [])
    assert_equal_outputs(model, network, noise(2, 3, height, width))
    square = base(name, (APPLICATIONS[name][2][1],) * 2)
    square.set_weights(network.get_weights())
    assert_equal_outputs(model, square, noise(2, 3, width, width))
    for nested in (True, False):
        with_head(network, nested=nested).save(tmp_path / "whole.keras")
        again = iz.create_model(name, weights=tmp_path / "whole.keras", num_classes=0, global_pool="", **options)
        assert equal(model, again)
        assert len(again.report.dropped) == 4
        assert all(name.startswith("dense") for name in again.report.dropped)


@pytest.mark.parametrize("name", ["xception_keras", pytest.param("inception_v3", marks=pytest.mark.full)])
@pytest.mark.parametrize("nested", [pytest.param(True, id="nested"), pytest.param(False, id="flat", marks=pytest.mark.full)])
def test_all_formats_hold_the_same(name, nested, tmp_path):
    """The format of Keras 3 with its configuration, as weights alone, in shards and without names; the format of Keras 2."""
    whole = with_head(base(name), nested=nested)
    whole.save(tmp_path / "a.keras"), whole.save_weights(tmp_path / "b.weights.h5"), whole.save(tmp_path / "c.h5")
    whole.save_weights(tmp_path / "d.weights.json", max_shard_size=0.03)
    assert len(list(tmp_path.glob("d_*.weights.h5"))) > 2
    without_names(tmp_path / "b.weights.h5", tmp_path / "e.weights.h5")
    as_keras_2(tmp_path / "c.h5", tmp_path / "f.h5")
    models = [iz.create_model(name, weights=path) for path in sorted(tmp_path.glob("?.*"))]
    assert len(models) == 6
    assert all(equal(models[0], model) for model in models[1:])
    assert [model.report.layout for model in models] == ["keras"] * 4 + ["keras without names", "keras"]
    assert all(len(model.report.dropped) == 4 for model in models)


def without_names(source, target):
    """Copy a file of Keras 3 as versions before 3.6 write it: no group says which layer it is."""
    shutil.copy(source, target)
    with h5py.File(target, "a") as file:
        groups = []
        file.visititems(lambda _, node: groups.append(node))
        for node in groups:
            node.attrs.pop("name", None)


def as_keras_2(source, target):
    """Copy a file in the legacy format as Keras 2 writes the weights alone: names in bytes, with ":0", and other numbers."""

    def renamed(name):
        kind, _, number = name.rpartition("_")
        if name in ("conv2d", "batch_normalization"):
            return f"{name}_95"
        return f"{kind}_{int(number) + 95}" if kind in ("conv2d", "batch_normalization") else name

    with h5py.File(source) as old, h5py.File(target, "w") as new:
        weights = old["model_weights"]
        layers = list(weights.attrs["layer_names"])
        new.attrs["layer_names0"] = [renamed(name).encode() for name in layers[:3]]  # a long list is split
        new.attrs["layer_names1"] = [renamed(name).encode() for name in layers[3:]]
        for layer in layers:
            group = new.create_group(renamed(layer))
            names = list(weights[layer].attrs["weight_names"])
            theirs = ["/".join(map(renamed, name.split("/"))) + ":0" for name in names]
            group.attrs["weight_names"] = [name.encode() for name in theirs]
            for name, other in zip(names, theirs, strict=True):
                group[other] = weights[layer][name][()]


CLASSIFIERS = [
    pytest.param("vgg16", marks=pytest.mark.full),
    "xception_keras",
    pytest.param("inception_v3", marks=pytest.mark.full),
]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_network_with_classifier(name, tmp_path):
    options = {key: value for key, value in APPLICATIONS[name][1].items() if key != "head"}
    network = base(name, include_top=True, classes=7, classifier_activation=None, input_shape=None)
    network.save_weights(tmp_path / "a.weights.h5")
    model = iz.create_model(name, weights=tmp_path / "a.weights.h5").eval()
    assert (model.num_classes, model.arguments) == (7, options)
    assert_equal_outputs(model, network, noise(2, 3, *network.input_shape[1:3]))
    assert iz.create_model(name, weights=tmp_path / "a.weights.h5", num_classes=2).report.replaced != []


@pytest.mark.parametrize("name", NAMES)
def test_keras_loads_our_file(name, tmp_path):
    """With a scale other than 1 in batch normalisation, which Keras's Inception networks do not have."""
    _, options, size = APPLICATIONS[name]
    model = fill(iz.create_model(name, num_classes=0, **options))
    for key, value in model.named_buffers():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if key.endswith("var") else value.uniform_(-0.2, 0.2)
    iz.export_weights(model, tmp_path / "ours.h5", layout="keras")
    network = base(name, pooling="avg")
    network.load_weights(tmp_path / "ours.h5")
    assert_equal_outputs(model, network, noise(2, 3, *size))
    again = iz.create_model(name, weights=tmp_path / "ours.h5", **options).eval()
    assert_equal_outputs(again, network, noise(2, 3, *size))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_keras_loads_our_file_with_a_classifier(name, tmp_path):
    options = {key: value for key, value in APPLICATIONS[name][1].items() if key != "head"}
    network = base(name, include_top=True, classes=7, classifier_activation=None, input_shape=None)
    model = fill(iz.create_model(name, num_classes=7, **options))
    iz.export_weights(model, tmp_path / "ours.h5", layout="keras")
    network.load_weights(tmp_path / "ours.h5")
    assert_equal_outputs(model, network, noise(2, 3, *network.input_shape[1:3]))


@pytest.mark.parametrize("name", ["vgg16", pytest.param("inception_v3", marks=pytest.mark.full)])
def test_published_weights(name, host, tmp_path, monkeypatch):
    """They are taken from the publisher, from Keras's cache, or recognised by the checksum, with Keras's preprocessing."""
    network, row = base(name), REGISTRY[name].weights["keras_in1k_notop"]
    network.save(tmp_path / "file.h5")
    data = (tmp_path / "file.h5").read_bytes()
    row = replace(row, digest=f"md5:{hashlib.md5(data).hexdigest()}")
    monkeypatch.setitem(REGISTRY, name, replace(REGISTRY[name], weights={"keras_in1k_notop": row}))
    host.files["/" + row.url.split("/", 3)[3]] = data
    model = iz.create_model(f"{name}.keras_in1k_notop", pretrained=True, num_classes=0, global_pool="").eval()
    assert (model.data, model.num_classes, host.count()) == (row.data, 0, 1)
    pixels = 255 * torch.rand(2, 3, *APPLICATIONS[name][2])
    module = sys.modules[f"keras.applications.{name}"]
    prepared = module.preprocess_input(pixels.permute(0, 2, 3, 1).numpy().copy())  # it changes its argument
    mean, std = (torch.tensor(values)[:, None, None] for values in (row.data.mean, row.data.std))
    with torch.no_grad():
        ours, theirs = model((pixels / 255 - mean) / std), network(numpy.ascontiguousarray(prepared)).permute(0, 3, 1, 2)
    assert (ours - theirs).abs().max() < TOLERANCE * theirs.abs().max()
    again = iz.create_model(name, weights=tmp_path / "file.h5", num_classes=0, global_pool="")
    assert again.report.published == f"{name}.keras_in1k_notop (recognised by its checksum)"
    assert (again.data, equal(model, again)) == (row.data, True)
    (tmp_path / "keras" / "models").mkdir(parents=True)
    (tmp_path / "keras" / "models" / row.url.rpartition("/")[2]).write_bytes(data)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    cached = iz.create_model(
        f"{name}.keras_in1k_notop", pretrained=True, num_classes=0, global_pool="", cache_dir=tmp_path / "empty"
    )
    assert (equal(model, cached), host.count(), list((tmp_path).glob("empty/*/*"))) == (True, 1, [])


def test_xception_of_a_keras_file_is_that_of_keras(tmp_path):
    base("xception_keras").save(tmp_path / "a.keras")
    model = iz.create_model("xception", weights=tmp_path / "a.keras", num_classes=2)
    assert model.arguments == {"eps": 1e-3, "pool_padding": "same"}
    assert equal(model.features, iz.create_model("xception_keras", weights=tmp_path / "a.keras").features)


def test_another_network_is_refused_with_the_arguments_that_fit(tmp_path):
    base("xception_keras").save(tmp_path / "a.keras")
    model = iz.create_model("xception", num_classes=0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(iz.MismatchError, match=r"built with eps=1e-05, pool_padding='half'; .*eps=0\.001, pool_padding='same'"):
        iz.load_weights(model, tmp_path / "a.keras")
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())
    for call in (
        lambda: iz.create_model("xception", weights=tmp_path / "a.keras", eps=1e-5),
        lambda: iz.export_weights(model, tmp_path / "b.h5", layout="keras"),
    ):
        with pytest.raises(iz.MismatchError, match=r"create_model\('xception', eps=0\.001.*\) fits"):
            call()
    assert not (tmp_path / "b.h5").exists()


def test_a_head_that_the_file_lacks(tmp_path):
    network = base("xception_keras")
    network.save(tmp_path / "a.keras")
    model = iz.create_model("xception_keras", num_classes=2)
    with pytest.raises(iz.MismatchError, match="these weights have no head: pass new_head=True"):
        iz.load_weights(model, tmp_path / "a.keras")
    assert iz.load_weights(model, tmp_path / "a.keras", new_head=True).left_random == ["head.fc.weight", "head.fc.bias"]
    maps = iz.create_model("xception_keras", features_only=True, weights=tmp_path / "a.keras").eval()
    assert_equal_outputs(lambda images: maps(images)[-1], network, noise(2, 3, 75, 98))


def test_convert_and_the_command_line(tmp_path, capsys):
    from inceptionzoo.cli import main

    base("xception_keras").save(tmp_path / "a.keras")
    assert (
        main(["convert", str(tmp_path / "a.keras"), str(tmp_path / "b.safetensors"), "--architecture", "xception_keras"]) == 0
    )
    assert "keras" in capsys.readouterr().out
    assert equal(iz.load_model(tmp_path / "b.safetensors"), iz.create_model("xception_keras", weights=tmp_path / "a.keras"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small file in the format of Keras 3, and one in that of Keras 2, of no known network."""
    folder = tmp_path_factory.mktemp("small")
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()])
    model.save(folder / "a.keras"), model.save(folder / "a.h5"), model.save_weights(folder / "a.weights.h5")
    return folder


def parts(path):
    return {part.path: {key: tuple(value.shape) for key, value in part.tensors.items()} for part in _keras.read_keras(path)}


def test_names_of_variables(small):
    norm = {f"batch_normalization.{name}": (4,) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    for name in ("a.keras", "a.h5", "a.weights.h5"):
        assert parts(small / name) == {(): {"conv2d.kernel": (4, 3, 3, 3), "conv2d.bias": (4,), **norm}}


def changed(path, target, change):
    shutil.copy(path, target)
    with h5py.File(target, "a") as file:
        change(file)
    return target


def compressed(file):
    data = file["layers/conv2d/vars/0"][()]
    del file["layers/conv2d/vars/0"]
    file["layers/conv2d/vars"].create_dataset("0", data=data, compression="gzip")


def not_stored(file):
    del file["layers/conv2d/vars/0"]
    file["layers/conv2d/vars"].create_dataset("0", shape=(3, 3, 3, 10**12), dtype="f4", chunks=(3, 3, 3, 1000))


def linked(link):
    def change(file):
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = link

    return change


def in_another_file(file):
    del file["layers/conv2d/vars/0"]
    file["layers/conv2d/vars"].create_dataset("0", shape=(3, 3, 3, 4), dtype="f4", external=[("/etc/passwd", 0, 432)])


REFUSED = {
    "compressed": (compressed, "compressed or not at all"),
    "values that are not stored": (not_stored, "compressed or not at all"),
    "a link to a file": (linked(h5py.ExternalLink("other.h5", "/x")), "a link '0' to another place or file"),
    "a link inside": (linked(h5py.SoftLink("/layers")), "a link '0' to another place or file"),
    "an array in another file": (in_another_file, "in another file"),
    "no layers": (lambda file: file.pop("layers"), "holds no layers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case, small, tmp_path):
    change, text = REFUSED[case]
    with pytest.raises(iz.FileError, match=text):
        _keras.read_keras(changed(small / "a.weights.h5", tmp_path / "b.h5", change))


def with_lambda(path, name, **arguments):
    """Add a configuration with a Lambda layer to a file."""
    layer = {"class_name": "Lambda", "config": {"name": name, "function": ["code"], "arguments": arguments}}
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {"layers": [layer]}})


def test_facenets_file(tmp_path):
    """The Lambda layers of FaceNet's files are sums; their names and scales are known, and nothing runs them."""
    path, images = tmp_path / "a.h5", noise(6, 3, 96, 96)
    model = fill(iz.create_model("inception_resnet_v1", num_classes=0, bottleneck=16), images)
    iz.export_weights(model, path, layout="keras")
    with h5py.File(path) as file:
        layers = set(map(str, file.attrs["layer_names"]))
        variables = [str(name) for layer in layers for name in file[layer].attrs["weight_names"]]
    assert not [name for name in variables if "gamma" in name]  # FaceNet's normalisations have no scale
    assert {"Conv2d_1a_3x3_BatchNorm", "Block17_10_Branch_1_Conv2d_0c_7x1", "Bottleneck_BatchNorm"} <= layers
    for name, scale in (("Block35_1_ScaleSum", 0.17), ("Block17_10_ScaleSum", 0.1), ("Block8_6_ScaleSum", 1.0)):
        with_lambda(path, name, scale=scale)
        again = iz.create_model("inception_resnet_v1", num_classes=0, bottleneck=16, weights=path).eval()
        assert again.data.input_size == (3, 160, 160)
        assert "160 x 160 px, mean (0.5, 0.5, 0.5)" in again.report.preprocessing
        with torch.no_grad():  # in float64: the network adds up the rounding of float32
            ours, expected = again.double()(images.double()), model.double()(images.double())
        assert (ours - expected).abs().max() < TOLERANCE * expected.abs().max()
    for name, arguments in (("Block35_1_ScaleSum", {"scale": 0.5}), ("Block35_1_ScaleSum", {}), ("scaled", {"scale": 0.17})):
        with_lambda(path, name, **arguments)
        with pytest.raises(iz.FileError, match=f"layers that hold code, such as '{name}'"):
            iz.create_model("inception_resnet_v1", num_classes=0, bottleneck=16, weights=path)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_code_is_refused_and_not_run(ending, tmp_path):
    """A Lambda layer beside the network can change what it gets."""
    network = base("xception_keras", (71, 71))
    inputs = keras.Input((71, 71, 3))
    whole = keras.Model(inputs, network(keras.layers.Lambda(lambda x: x / 127.5 - 1, name="scaled")(inputs)))
    whole.save(tmp_path / f"a{ending}")
    with pytest.raises(iz.FileError, match="layers that hold code, such as 'scaled'.*never runs"):
        iz.create_model("xception_keras", weights=tmp_path / f"a{ending}")


def archive(path, **entries):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(name.replace("__", "."), content)
    return path


def test_damaged_files(small, tmp_path):
    data = (small / "a.keras").read_bytes()
    for cut in (4, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.keras").write_bytes(data[:cut])
        with pytest.raises(iz.FileError, match="is not a Keras file or is damaged"):
            _keras.read_keras(tmp_path / "cut.keras")
    for path, text in (
        (archive(tmp_path / "other.keras", a=b"x"), "not a Keras model"),
        (archive(tmp_path / "list.keras", config__json=b"[1]", model__weights__h5=(small / "a.weights.h5").read_bytes()), ""),
    ):
        if text:
            with pytest.raises(iz.FileError, match=text):
                _keras.read_keras(path)
        else:
            assert list(parts(path)[()])[:1] == ["batch_normalization.gamma"]
    (tmp_path / "a.weights.json").write_text(json.dumps({"weight_map": {"x": "../a.weights.h5"}}))
    with pytest.raises(iz.FileError, match="names no shards beside it"):
        _keras.read_keras(tmp_path / "a.weights.json")


def test_a_crash_of_the_library_is_an_error(small, tmp_path, monkeypatch):
    for code, text in (
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "h5py ended with status -11 while reading it"),
        ("import time; time.sleep(60)", "h5py took more than"),
    ):
        (tmp_path / "reader.py").write_text(code)
        monkeypatch.setattr(_keras, "READER", tmp_path / "reader.py")
        monkeypatch.setattr(_keras, "SECONDS", 1)
        with pytest.raises(iz.FileError, match=text):
            _keras.read_keras(small / "a.keras")


def test_without_h5py(small, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "h5py" else sys.modules[name].__spec__)
    for call in (
        lambda: iz.create_model("xception_keras", weights=small / "a.keras"),
        lambda: iz.create_model("xception_keras", pretrained=True),
        lambda: iz.export_weights(iz.create_model("vgg11", num_classes=0, head="pool"), small / "b.h5", layout="keras"),
    ):
        with pytest.raises(iz.ArgumentError, match=r'Keras files need h5py: pip install "inceptionzoo\[keras\]"'):
            call()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_exported_in_float32(dtype, tmp_path):
    model = iz.create_model("vgg11", num_classes=0, head="pool", dtype=dtype)
    iz.export_weights(model, tmp_path / "a.h5", layout="keras")
    again = iz.create_model("vgg11", num_classes=0, head="pool", weights=tmp_path / "a.h5")
    assert all(value.equal(model.state_dict()[key].float()) for key, value in again.state_dict().items())


def test_export_takes_its_own_ending_and_no_auxiliary_heads(tmp_path):
    model = iz.with_aux(iz.create_model("inception_v3", num_classes=2, include_pad=False))
    with pytest.raises(iz.ArgumentError, match="Keras's network has no auxiliary heads"):
        iz.export_weights(model, tmp_path / "a.h5", layout="keras")
    for layout, ending in (("keras", ".safetensors"), ("torchvision", ".h5")):
        with pytest.raises(iz.FileError, match=f"must end in one of .* for layout='{layout}'"):
            iz.export_weights(model, tmp_path / f"a{ending}", layout=layout)
    with pytest.raises(iz.ArgumentError, match="layout='keras without names' must be one of 'torchvision', 'keras'"):
        iz.export_weights(model, tmp_path / "a.h5", layout="keras without names")
    assert list(tmp_path.iterdir()) == []
