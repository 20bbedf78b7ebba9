"""transformers reads and writes the folder of save_pretrained, through its wrapper for timm."""

import pytest
import torch
from helpers import fill, noise, one_thread
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification, pipeline
from transformers.models.timm_wrapper import TimmWrapperForImageClassification

import inceptionzoo as iz


@one_thread()
def test_a_folder_is_read_and_written(page):
    names = page("transformers")
    model, theirs, again, image = (names[name] for name in ("model", "theirs", "again", "image"))
    assert type(theirs) is TimmWrapperForImageClassification
    assert type(theirs.timm_model) is iz.Net
    pixels = names["processor"](image)["pixel_values"]
    assert pixels[0].equal(iz.transforms(model)(image))
    with torch.inference_mode():
        output = theirs(pixels, labels=torch.tensor([1]), output_hidden_states=True)
        assert output.logits.equal(model(pixels))
        assert all(map(torch.equal, output.hidden_states, model.forward_intermediates(pixels)[1]))
        assert again(pixels).equal(model(pixels))
    assert float(output.loss) == pytest.approx(float(torch.nn.functional.cross_entropy(output.logits, torch.tensor([1]))))
    assert (again.class_names, again.data) == (("benign", "malignant"), model.data)
    probabilities = {answer["label"]: answer["score"] for answer in names["answers"]}
    assert probabilities == pytest.approx(dict(iz.predict(again, image)))
    with torch.inference_mode():
        maps = names["backbone"](pixels).feature_maps
    assert [tuple(level.shape[1:]) for level in maps] == [(192, 16, 16), (480, 8, 8), (832, 4, 4), (1024, 2, 2)]


@one_thread()
@pytest.mark.parametrize(
    ("task", "names"),
    [("multilabel", ["a", "b", "c"]), ("regression", ["x", "y"]), ("regression", ["x"]), ("binary", ["no", "yes"])],
)
def test_the_pipeline_answers_as_predict(task, names, tmp_path):
    iz.interop.timm.register()
    torch.manual_seed(0)
    image = Image.effect_noise((64, 64), 90).convert("RGB")
    model = fill(iz.create_model("googlenet_cifar", num_classes=1 if task == "binary" else len(names)))
    model.task = task
    model.set_class_names(names)
    iz.save_pretrained(model, tmp_path)
    theirs = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    classify = pipeline("image-classification", model=theirs, image_processor=AutoImageProcessor.from_pretrained(tmp_path))
    answers = {answer["label"]: answer["score"] for answer in classify(image)}
    assert list(answers) == sorted(names[-model.num_classes :], key=answers.get, reverse=True)
    theirs.save_pretrained(tmp_path / "again")
    again = iz.create_model(f"local-dir:{tmp_path / 'again'}")
    assert again.task == task
    for ours in (model, again):
        predicted = dict(iz.predict(ours, image))
        assert {name: predicted[name] for name in answers} == pytest.approx(answers, rel=1e-5)


@one_thread()
@pytest.mark.parametrize("arguments", [{}, {"in_chans": 1}, {"global_pool": "max"}, {"padding": "same"}])
def test_features_and_logits_of_variants(arguments, tmp_path):
    iz.interop.timm.register()
    images = noise(2, arguments.get("in_chans", 3), 64, 64)
    model = fill(iz.create_model("googlenet", num_classes=3, **arguments), images)
    iz.save_pretrained(model, tmp_path)
    with torch.inference_mode():
        output = AutoModel.from_pretrained(tmp_path).eval()(images)
        assert output.last_hidden_state.equal(model.forward_features(images))
        assert output.pooler_output.equal(model.forward_head(output.last_hidden_state, pre_logits=True))
        assert AutoModelForImageClassification.from_pretrained(tmp_path).eval()(images).logits.equal(model(images))
