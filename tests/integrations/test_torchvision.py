"""torchvision's detection: Faster R-CNN on a feature pyramid."""

import torch

import inceptionzoo as iz


def test_training_step_and_prediction(page):
    names = page("torchvision's detection")
    detector, images, targets = names["detector"], names["images"], names["targets"]
    body = detector.backbone.body
    assert set(names["losses"]) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    sum(names["losses"].values()).backward()
    without_gradient = [key for key, parameter in body.named_parameters() if not parameter.grad.abs().sum()]
    assert without_gradient == []
    optimizer = torch.optim.SGD(detector.parameters(), 0.01)
    for _ in range(2):
        optimizer.step()
        optimizer.zero_grad()
        torch.manual_seed(0)  # the detector samples boxes at random
        loss = sum(detector(images, targets).values())
        loss.backward()
    assert loss < sum(names["losses"].values())

    detector.roi_heads.score_thresh = 0.0  # after so little training, all scores are low
    plain = iz.create_model("googlenet", weights=body.state_dict(), num_classes=0).eval()
    with torch.inference_mode():
        found, x = detector.eval()(images), torch.stack(images[1:])
        maps = plain.forward_intermediates(x, (1, 2, 3, 4), intermediates_only=True)
        assert all(map(torch.equal, body(x), maps))
    for image, boxes in zip(images, found, strict=True):
        assert boxes["scores"].numel() > 0
        assert (boxes["boxes"] >= 0).all()
        assert (boxes["boxes"] <= torch.tensor([image.shape[2], image.shape[1]] * 2)).all()
