"""open_image: orientation, transparency, colour modes, bit depths, sources and damaged files."""

import io
import pickle
import struct
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from PIL import Image, features
from PIL.Image import Transpose
from torchvision.datasets import ImageFolder

import inceptionzoo as iz

TURNED = {  # what a camera stores for each orientation, from the upright picture
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}
COLOUR = np.kron(np.random.default_rng(0).integers(0, 256, (3, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8)  # (24, 32, 3)
GREY = np.linspace(0, 255, 12 * 16).reshape(12, 16).round().astype(np.uint8)


def pixels(source: object, **options: object) -> np.ndarray:
    return np.asarray(iz.open_image(source, **options))


def difference(source: object, expected: np.ndarray, **options: object) -> int:
    found = pixels(source, **options)
    assert found.shape == expected.shape
    return int(np.abs(found.astype(int) - expected).max())


def in_colour(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey] * 3, -1)


def png(path: Path, values: np.ndarray, colour_type: int, transparent: bytes = b"", bits: int = 16) -> Path:
    """Write a PNG file of some bits per channel: values (h, w, c), with a transparent colour if given."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, _ = values.shape
    digits = values[..., None].astype(int) >> np.arange(bits - 1, -1, -1) & 1
    rows = b"".join(b"\0" + np.packbits(row.astype(np.uint8)).tobytes() for row in digits)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)), (b"tRNS", transparent)]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts if part[1] or part[0] == b"IEND"))
    return path


def tiff(
    path: Path,
    data: bytes,
    size: tuple[int, int],
    bits: int,
    *,
    white_is_zero: bool = False,
    form: int = 1,
    more: Mapping[int, int | tuple[int, ...]] = MappingProxyType({}),
) -> Path:
    """Write a grey TIFF file; `form` is 1 for unsigned, 2 for signed, 3 for floating point."""
    (width, height) = size
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 0 if white_is_zero else 1, 273: 0, 277: 1, 278: height}
    tags |= {279: len(data), 339: form, **more}
    tags[273] = 8 + 2 + len(tags) * 12 + 4  # where the data begin
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value)
        if isinstance(value, int)
        else struct.pack("<HHII", tag, 3, len(value), tags[273] + len(data))  # the numbers follow the data
        for tag, value in sorted(tags.items())
    )
    data += b"".join(struct.pack(f"<{len(value)}H", *value) for value in tags.values() if isinstance(value, tuple))
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data)
    return path


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "lzw", "webp"])
def test_an_image_is_turned_as_its_viewer_turns_it(tmp_path, orientation, suffix):
    if suffix == "webp" and not features.check("webp"):
        pytest.skip("Pillow was built without WebP")
    path, exif, upright = tmp_path / f"tagged.{suffix.replace('lzw', 'tif')}", Image.Exif(), Image.fromarray(COLOUR)
    exif[0x0112] = orientation
    stored = upright if TURNED[orientation] is None else upright.transpose(TURNED[orientation])
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}, "lzw": {"compression": "tiff_lzw"}}
    stored.save(path, exif=exif, **options.get(suffix, {}))
    close = 8 if suffix == "jpg" else 0
    assert difference(path, COLOUR) <= close
    assert difference(path.read_bytes(), COLOUR) <= close
    with Image.open(path) as opened:
        assert difference(opened, COLOUR) <= close
    with Image.open(path) as opened:
        as_image_folder = opened.convert("RGB")
    assert difference(as_image_folder, COLOUR) <= close
    assert difference(iz.open_image(path), COLOUR) <= close  # once is enough
    assert not iz.open_image(path).info


def test_the_first_page_of_a_tiff_file_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(COLOUR).transpose(Transpose.ROTATE_90)
    stored.save(tmp_path / "pages.tif", exif=exif, save_all=True, append_images=[Image.new("RGB", (5, 5))])
    assert difference(tmp_path / "pages.tif", COLOUR) == 0


def test_malformed_exif_data_is_ignored():
    image = Image.fromarray(COLOUR)
    image.info["exif"] = b"Exif\0\0nonsense"
    assert difference(image, COLOUR) == 0


def cutout(hidden: tuple[int, int, int]) -> Image.Image:
    """Return a picture whose right half is transparent; `hidden` is the colour that it has there nevertheless."""
    values = np.zeros((8, 8, 4), np.uint8)
    values[:, :4], values[:, 4:, :3] = (90, 160, 40, 255), hidden
    return Image.fromarray(values)


@pytest.mark.parametrize("form", ["RGBA", "RGBa", "LA", "La", "PA", "palette", "palette of bytes", "colour", "16 bits"])
def test_transparency_shows_the_background(tmp_path, form):
    image = cutout((255, 0, 0))
    visible = (90, 160, 40)
    if form in ("LA", "La", "16 bits"):
        image, visible = image.convert("LA"), (image.convert("L").getpixel((0, 0)),) * 3
        image = image.convert(form) if form == "La" else image
    elif form in ("RGBa", "PA"):
        image = image.convert("P").convert("PA") if form == "PA" else image.convert(form)
        if form == "PA":
            image.putalpha(cutout((0, 0, 0)).getchannel("A"))
    elif form != "RGBA":
        flat = image.convert("RGB")
        image = flat if form == "colour" else flat.quantize(2)
        clear = image.getpixel((7, 0))
        transparency = bytes(0 if index == clear else 255 for index in range(2)) if form == "palette of bytes" else clear
        image.save(tmp_path / "clear.png", transparency=transparency)
        image = Image.open(tmp_path / "clear.png")
    if form == "16 bits":
        values = np.where(np.arange(8) < 4, visible[0] * 257, 7)[None, :, None].repeat(8, 0)
        image = Image.open(png(tmp_path / "deep.png", values, 0, struct.pack(">H", 7)))
    with image:
        white, black = pixels(image), pixels(image, background="black")
    assert np.abs(white[:, :4].astype(int) - visible).max() <= 1
    assert (white[:, 4:] == 255).all()
    assert (black[:, 4:] == 0).all()
    assert np.abs(black[:, :4].astype(int) - visible).max() <= 1


@pytest.mark.parametrize(
    ("bits", "channels", "values", "left"),
    [(1, 1, (0, 1), 0), (2, 1, (1, 2), 85), (4, 1, (3, 5), 51), (16, 1, (9000, 50000), 35), (16, 3, (9000, 50000), 35)],
)
def test_a_transparent_colour_of_any_number_of_bits(tmp_path, bits, channels, values, left):
    grid = np.array(values)[None, :, None].repeat(8, 0).repeat(4, 1).repeat(channels, 2)
    clear = struct.pack(">H", values[1]) * channels
    path = png(tmp_path / "x.png", grid, 0 if channels == 1 else 2, clear, bits)
    found = pixels(path, background="red")
    assert found[0, 0].tolist() == [left] * 3
    assert found[0, 7].tolist() == [255, 0, 0]


def test_half_transparent_pixels_mix_with_the_background():
    values = np.full((2, 2, 4), (200, 100, 0, 128), np.uint8)
    assert difference(values, np.full((2, 2, 3), (227, 177, 127))) <= 1
    assert difference(values, np.full((2, 2, 3), (100, 50, 127)), background="blue") <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_hidden_colours_decide_nothing(channels):
    one, other = (pixels(cutout(hidden), channels=channels) for hidden in ((0, 0, 0), (255, 0, 0)))
    assert (one == other).all()
    assert one.shape == ((8, 8) if channels == 1 else (8, 8, channels))
    if channels == 4:
        assert one[0, 0].tolist() == [90, 160, 40, 255]
        assert one[0, 7].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_mode_of_a_grey_picture_does_not_matter(mode, channels):
    if mode == "LAB":
        image = Image.merge("LAB", [Image.new("L", (16, 12), value) for value in (128, 128, 128)])
        expected = np.full((12, 16), 119)  # L* = 50
    else:
        image, expected = Image.fromarray(GREY if mode == "P" else in_colour(GREY)).convert(mode), GREY
    close = 2 if mode == "LAB" else 1 if mode == "YCbCr" else 0
    if channels == 1:
        assert difference(image, expected, channels=1) <= close
    else:
        found = pixels(image, channels=channels)
        assert np.abs(found[..., :3].astype(int) - in_colour(expected)).max() <= close
        assert (found[..., 3:] == 255).all()


def test_one_bit_per_pixel():
    image = Image.fromarray(np.where(GREY > 100, 255, 0).astype(np.uint8)).convert("1")
    assert difference(image, np.where(GREY > 100, 255, 0), channels=1) == 0


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, 4, 4, device="meta"),
        torch.zeros(3, 4, 4).to_sparse(),
        torch.zeros(3, 4, 4, dtype=torch.complex64).conj(),
    ],
    ids=["meta", "sparse", "complex"],
)
def test_a_tensor_must_hold_its_values(tensor):
    with pytest.raises(iz.ArgumentError, match="must be a dense Tensor of real numbers"):
        iz.open_image(tensor)
    if tensor.is_floating_point():
        with pytest.raises(iz.ArgumentError, match="must be a dense Tensor of real numbers"):
            iz.predict(iz.build(iz.network(a=iz.Conv(4, 3))), tensor)


def test_the_palette_can_have_alpha():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 255, 90, 90, 90, 0], "RGBA")
    image.putpixel((1, 0), 1)
    assert pixels(image).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_a_gif_file_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert pixels(tmp_path / "two.gif")[0, 0].tolist() == [255, 0, 0]


DEEP = {
    "PNG": lambda folder: png(folder / "x.png", GREY[..., None].astype(int) * 257, 0),
    "PNG in colour": lambda folder: png(folder / "x.png", in_colour(GREY).astype(int) * 257, 2),
    "TIFF": lambda folder: tiff(folder / "x.tif", (GREY.astype("<u2") * 257).tobytes(), (16, 12), 16),
    "TIFF, white is 0": lambda folder: tiff(
        folder / "x.tif", (65535 - GREY.astype("<u2") * 257).tobytes(), (16, 12), 16, white_is_zero=True
    ),
    "TIFF of 12 bits": lambda folder: tiff(folder / "x.tif", twelve_bits(GREY), (16, 12), 12),
    "TIFF of 32 bits": lambda folder: tiff(folder / "x.tif", (GREY / np.float32(255)).tobytes(), (16, 12), 32, form=3),
    "PGM": lambda folder: portable(folder / "x.pgm", np.ceil(GREY * (4095 / 255)), 4095),
    "big-endian": lambda _: Image.frombytes("I;16B", (16, 12), (GREY.astype(">u2") * 257).tobytes()),
    "uint16": lambda _: GREY.astype(np.uint16) * 257,
    "uint16 in colour": lambda _: in_colour(GREY).astype(np.uint16) * 257,
    "big-endian array": lambda _: GREY.astype(">u2") * 257,
    "float32": lambda _: GREY.astype(np.float32) / 255,
    "float64 in colour": lambda _: in_colour(GREY) / 255,
    "float32 with rounding errors": lambda _: (GREY / 255 - 1e-6).clip(0).astype(np.float32),
    "mode F": lambda _: Image.fromarray(GREY.astype(np.float32) / 255),
    "Tensor": lambda _: torch.from_numpy(GREY.astype(np.float32) / 255)[None].requires_grad_().bfloat16(),
    "uint8 Tensor": lambda _: torch.from_numpy(in_colour(GREY)).permute(2, 0, 1),
}


def twelve_bits(grey: np.ndarray) -> bytes:
    """Return 12 bits for each pixel, two pixels in three bytes, white 4095."""
    values = np.ceil(grey.astype(int) * 4095 / 255).astype(int).reshape(-1, 2)
    first, second = values[:, 0], values[:, 1]
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(np.uint8).tobytes()


def portable(path: Path, values: np.ndarray, white: int) -> Path:
    path.write_bytes(f"P5 16 12 {white}\n".encode() + values.astype(">u2").tobytes())
    return path


@pytest.mark.parametrize("form", DEEP)
def test_more_than_8_bits_give_the_8_bit_picture(tmp_path, form):
    close = 1 if form == "Tensor" else 0
    assert difference(DEEP[form](tmp_path), GREY, channels=1) <= close
    assert difference(DEEP[form](tmp_path), in_colour(GREY)) <= close


TWELVE = np.linspace(300, 4095, 12 * 16).reshape(12, 16).astype(np.uint16)
UNKNOWN = {
    "TIFF": lambda folder: tiff(folder / "x.tif", TWELVE.astype("<u2").tobytes(), (16, 12), 16),
    "PNG": lambda folder: png(folder / "x.png", TWELVE[..., None], 0),
    "array": lambda _: TWELVE,
    "array in colour with alpha": lambda _: np.dstack([in_colour(TWELVE), np.full_like(TWELVE, 4095)]),
    "signed": lambda folder: tiff(folder / "x.tif", TWELVE.astype("<i2").tobytes(), (16, 12), 16, form=2),
    "mode I": lambda _: Image.fromarray(TWELVE.astype(np.int32)),
    "mode F": lambda _: Image.fromarray(TWELVE.astype(np.float32)),
    "int64": lambda _: TWELVE.astype(np.int64),
    "float64": lambda _: TWELVE.astype(np.float64),
}


@pytest.mark.parametrize("form", UNKNOWN)
def test_an_unknown_white_is_refused_and_can_be_given(tmp_path, form):
    source = UNKNOWN[form](tmp_path)
    with pytest.raises(iz.ArgumentError, match="max_value") as caught:
        iz.open_image(source)
    assert "mode" in str(caught.value) or not isinstance(source, Path | Image.Image)
    assert difference(source, in_colour(TWELVE.astype(int) * 255 // 4095), max_value=4095) == 0
    with pytest.raises(iz.ArgumentError, match=r"values from 300 to 4095; they must lie in 0\.\.4000, black to white"):
        iz.open_image(source, max_value=4000)


def test_a_tiff_file_can_state_its_white(tmp_path):
    for largest, stated in ((4095, True), (4000, False)):
        Image.fromarray(TWELVE).save(tmp_path / "x.tif", tiffinfo={281: largest})
        if stated:
            assert difference(tmp_path / "x.tif", TWELVE.astype(int) * 255 // 4095, channels=1) == 0
        else:
            with pytest.raises(iz.ArgumentError, match="its largest value is 4095 of 65535"):
                iz.open_image(tmp_path / "x.tif")


@pytest.mark.parametrize(("largest", "bits"), [(200, 8), (1000, 10), (4095, 12), (16383, 14)])
def test_the_error_suggests_a_number_of_bits(largest, bits):
    for values in (np.full((2, 2), largest, np.uint16), np.full((2, 2, 4), (largest, 0, 0, 65535), np.uint16)):
        message = rf"largest value is {largest} of 65535; .*max_value={2**bits - 1}\) for {bits} bits"
        with pytest.raises(iz.ArgumentError, match=message):
            iz.open_image(values)
    assert pixels(np.full((2, 2), 16384, np.uint16))[0, 0, 0] == 63


def test_dark_16_bit_colours_are_refused_unless_they_are_meant(tmp_path):
    """Pillow keeps the upper 8 bits of these, and nothing is left of 8 bits stored in 16."""
    path = png(tmp_path / "x.png", in_colour(TWELVE), 2)
    with pytest.raises(iz.ArgumentError, match="x.png of mode RGB has 16 bits per channel"):
        iz.open_image(path)
    with pytest.raises(iz.ArgumentError, match="16 bits per channel"):
        iz.open_image(path, max_value=4095)
    assert difference(path, in_colour(TWELVE >> 8), max_value=65535) == 0
    assert difference(TWELVE, TWELVE // 257, channels=1, max_value=65535) == 0
    assert not pixels(np.zeros((2, 2), np.uint16)).any()


def test_what_pillow_misreads_is_refused(tmp_path):
    """Pillow reads signed numbers as unsigned ones, and planes of 16 bits as planes of 8 bits."""
    path = tiff(tmp_path / "x.tif", GREY.tobytes(), (16, 12), 8, form=2)
    with pytest.raises(iz.ArgumentError, match="x.tif holds signed 8-bit numbers, which Pillow misreads"):
        iz.open_image(path)
    path = tiff(tmp_path / "y.tif", GREY.astype("<u2").tobytes(), (16, 12), 16, more={284: 2})
    with pytest.raises(iz.ArgumentError, match="y.tif holds 16-bit channels in separate planes"):
        iz.open_image(path)
    values = np.full((12, 16, 4), 4095, "<u2")
    path = tiff(tmp_path / "z.tif", values.tobytes(), (16, 12), 16, more={277: 4, 262: 5, 258: (16,) * 4})
    with pytest.raises(iz.ArgumentError, match="z.tif of mode CMYK has 16 bits per channel"):
        iz.open_image(path)
    assert difference(path, np.full((12, 16, 3), 226), max_value=65535) == 0


SOURCES = {
    "str": str,
    "Path": lambda path: path,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "PIL": Image.open,
    "array": lambda path: np.asarray(Image.open(path)),
    "strided array": lambda path: np.asarray(Image.open(path)).repeat(2, 1)[:, ::2],
    "array with alpha": lambda path: np.dstack([np.asarray(Image.open(path)), np.full((24, 32), 255, np.uint8)]),
    "Tensor": lambda path: torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_every_kind_of_source(tmp_path, kind):
    Image.fromarray(COLOUR).save(tmp_path / "x.png")
    source = SOURCES[kind](tmp_path / "x.png")
    assert difference(source, COLOUR) == 0
    assert difference(COLOUR[..., :1], in_colour(COLOUR[..., 0])) == 0


def test_a_file_object_stays_open_and_an_image_is_not_changed(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "x.png")
    with open(tmp_path / "x.png", "rb") as file:
        assert difference(file, COLOUR) == 0
        assert difference(file, COLOUR) == 0
    image = Image.fromarray(COLOUR)
    image.info["dpi"] = (72, 72)
    iz.open_image(image).paste((0, 0, 0), (0, 0, 9, 9))
    assert (np.asarray(image) == COLOUR).all()
    assert image.info


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (7, {}, "image of type int must be a path, bytes.*; of several images, pass a list to predict"),
        (None, {}, "image of type NoneType"),
        (np.zeros((2, 2, 5), np.uint8), {}, r"image of shape \(2, 2, 5\) and type ndarray must have shape \(h, w\)"),
        (np.zeros((2, 3, 4, 3), np.uint8), {}, "of several, pass a list"),
        (np.zeros((0, 3), np.uint8), {}, r"image of shape \(0, 3\)"),
        (torch.zeros(4, 4), {}, r"image of shape \(4, 4\) and type Tensor must have shape \(c, h, w\)"),
        (torch.zeros(8, 8, 3), {}, "1, 3 or 4 channels"),
        (torch.zeros(4, 4), {}, r"channels; pass image\[None\]$"),
        (torch.zeros(4), {}, r"image of shape \(4,\) .* 1, 3 or 4 channels$"),
        (np.zeros((2, 2), bool), {}, "dtype bool; convert it to uint8, with 255 for True"),
        (np.full((2, 2), np.nan), {}, "values from nan to nan"),
        (np.full((2, 2), -0.5), {}, "values from -0.5 to -0.5"),
        (np.full((2, 2, 3), 7.0), {}, r"values from 7 to 7; they must lie in 0\.\.1"),
        (Image.new("RGB", (0, 4)), {}, r"size \(0, 4\); each side must be at least 1 px"),
        (COLOUR, {"channels": 2}, "channels=2 must be one of 1, 3, 4"),
        (COLOUR, {"background": "whyte"}, "background='whyte' must be a colour"),
        (COLOUR, {"max_value": 0}, "max_value=0 must be the value of white, above 0"),
        (COLOUR, {"max_value": "x"}, "max_value='x' must be a finite number"),
    ],
)
def test_refusals(source, options, message):
    with pytest.raises(iz.ArgumentError, match=message):
        iz.open_image(source, **options)


def half(form: str) -> bytes:
    """Return the first half of a file of this format."""
    file, noise = io.BytesIO(), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(file, form)
    return file.getvalue()[: len(file.getvalue()) // 2]


@pytest.mark.parametrize("content", ["PNG", "JPEG", "TIFF", "BMP", "text", "nothing"])
def test_a_damaged_file_is_named(tmp_path, content):
    folder = tmp_path / "b"
    folder.mkdir()
    path = folder / "2.png"
    path.write_bytes(half(content) if content.isupper() else {"text": b"not an image", "nothing": b""}[content])
    data = ImageFolder(tmp_path, loader=iz.open_image)
    for read in (lambda: data[0], lambda: iz.open_image(str(path))):
        with pytest.raises(iz.ImageError, match="2.png is .*replace or remove the file"):
            read()
    with pytest.raises(iz.ImageError, match="^image of [0-9,]* bytes is "):
        iz.open_image(path.read_bytes())


def test_errors_of_the_file_system_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.png"):
        iz.open_image(tmp_path / "missing.png")
    assert issubclass(iz.ImageError, OSError)


def test_the_loader_can_be_pickled_and_gives_what_predict_sees(tmp_path):
    """Workers that are spawned receive the data set pickled."""
    model = iz.create_model("googlenet_cifar", num_classes=2)
    (tmp_path / "a").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    cutout((255, 0, 0)).rotate(90).save(tmp_path / "a" / "0.png", exif=exif)
    for loader in (iz.open_image, partial(iz.open_image, background="white")):
        data = pickle.loads(pickle.dumps(ImageFolder(tmp_path, iz.transforms(model), loader=loader)))
        assert data[0][0].equal(iz.transforms(model)(cutout((0, 255, 0))))
        assert data[0][0].equal(iz.transforms(model)(tmp_path / "a" / "0.png"))
