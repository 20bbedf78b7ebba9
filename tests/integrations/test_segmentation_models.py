"""segmentation_models_pytorch: models as encoders of a U-Net and an FPN, through timm."""

import pytest
import segmentation_models_pytorch as smp
import torch

import inceptionzoo as iz


def test_u_nets_train_at_odd_sizes(page):
    names = page("segmentation_models_pytorch")
    images, masks = names["images"], names["masks"]
    for name, net in names["nets"].items():
        plain = net.encoder.model.model if hasattr(net.encoder.model, "model") else net.encoder.model
        assert isinstance(plain, iz.Net)
        assert all(parameter.grad.abs().sum() > 0 for key, parameter in net.named_parameters() if "conv.weight" in key)
        levels = list(range(len(plain.feature_info)))[-5:]
        maps = plain.eval().forward_intermediates(images, levels, intermediates_only=True)
        assert all(map(torch.equal, net.encoder.eval()(images)[-5:], maps)), name
        assert net.encoder.out_channels[-5:] == [x.shape[1] for x in maps]
        assert net.eval()(images).shape == (2, 2, 97, 129)
        net.train()
        torch.optim.Adam(net.parameters(), 1e-3).step()
        with torch.no_grad():
            loss = smp.losses.DiceLoss("multiclass")(net(images), masks)
        assert loss < names["losses"][name]


def test_a_fused_u_net(page):
    names = page("segmentation_models_pytorch")
    unet, fast = names["unet"], names["fast"]
    encoder = fast.encoder.model.model
    assert encoder.fused
    assert encoder.features._programs  # the maps come from a program
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fast.modules())
    with torch.no_grad():
        expected = unet(names["images"])
    assert (names["fused_logits"] - expected).abs().max() < 1e-4 * expected.abs().max()


def test_deeplab_keeps_a_sixteenth_of_the_image(page):
    names = page("segmentation_models_pytorch")
    assert names["logits"].shape == (1, 2, 128, 96)
    with torch.no_grad():
        maps = names["deeplab"].encoder(torch.randn(1, 3, 128, 96))
    assert [128 // x.shape[2] for x in maps] == [1, 2, 4, 8, 16, 16]
    assert [96 // x.shape[3] for x in maps] == [1, 2, 4, 8, 16, 16]


def test_same_padding_aligns_the_skip_connections(page):
    iz.interop.timm.register()
    images = torch.randn(1, 3, 96, 128)
    valid, same = (
        smp.FPN("tu-izoo_inception_v3", encoder_weights=None, **arguments).eval() for arguments in ({}, {"padding": "same"})
    )
    with pytest.raises(RuntimeError, match="size of tensor"):
        valid(images)
    with pytest.raises(RuntimeError, match="divisible by 32"):  # of the library, for every encoder
        same(torch.randn(1, 3, 97, 129))
    assert [x.shape[2] for x in valid.encoder(images)[1:]] != [48, 24, 12, 6, 3]
    assert [x.shape[2] for x in same.encoder(images)[1:]] == [48, 24, 12, 6, 3]
    assert same(images).shape == (1, 1, 96, 128)
    assert same.encoder.load_state_dict(valid.encoder.state_dict()).missing_keys == []


@pytest.mark.parametrize(
    "name", ["inception_v3", "inception_v4", "inception_resnet_v1", "inception_resnet_v2", "xception", "inception_v3_fid"]
)
def test_names_with_same_padding_halve_the_size_at_each_level(name):
    iz.interop.timm.register()
    images = torch.randn(1, 3, 64, 64)
    for depth in (3, 5):
        encoder = smp.encoders.get_encoder(f"tu-izoo_{name}_same", depth=depth, weights=None).eval()
        with torch.no_grad():
            assert [64 // x.shape[2] for x in encoder(images)] == [1, 2, 4, 8, 16, 32][: depth + 1]


def test_the_encoder_of_a_pspnet_has_a_reduction_of_8():
    iz.interop.timm.register()
    for name in ("vgg11_bn_cifar", "googlenet"):
        net = smp.PSPNet(f"tu-izoo_{name}", encoder_weights=None).eval()
        with torch.no_grad():
            assert net.encoder(torch.randn(1, 3, 64, 64))[-1].shape[2] == 8
