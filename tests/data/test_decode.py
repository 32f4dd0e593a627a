import struct
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image, features

from pyg_graphadapter.data import UnreadableImageError, decode_image, image_bytes, image_name
from pyg_graphadapter.data.decode import SUFFIXES, _check_decoder

GRADIENT = np.arange(48, dtype=np.uint8).reshape(6, 8)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_every_way_to_give_an_image(photo):
    expected = np.asarray(Image.open(photo))
    content = photo.read_bytes()
    ways = [
        photo,
        str(photo),
        content,
        {"bytes": content, "path": None},
        {"bytes": None, "path": str(photo)},
        Image.open(photo),
        expected,
    ]
    for way in ways:
        image = decode_image(way)
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tiff"])
def test_formats(tmp_path, suffix):
    Image.fromarray(np.full((6, 8, 3), 200, np.uint8)).save(tmp_path / f"a.{suffix}")
    assert abs(int(np.asarray(decode_image(tmp_path / f"a.{suffix}")).mean()) - 200) <= 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_modes_become_rgb_as_pillow_has_it(tmp_path, mode):
    image = Image.fromarray(np.stack([GRADIENT * 5] * 3, axis=2)).convert(mode)
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    image.save(tmp_path / f"a.{suffix}")
    decoded = decode_image(tmp_path / f"a.{suffix}")
    with Image.open(tmp_path / f"a.{suffix}") as opened:
        np.testing.assert_array_equal(np.asarray(decoded), np.asarray(opened.convert("RGB")))


def test_a_palette_with_transparency(tmp_path):
    image = Image.fromarray(GRADIENT).convert("P")
    image.save(tmp_path / "a.png", transparency=3)
    assert decode_image(tmp_path / "a.png").size == (8, 6)


def test_sixteen_bits_are_scaled_and_not_cut(tmp_path):
    wide = (np.linspace(0, 65535, 48).reshape(6, 8)).astype(np.uint16)
    Image.fromarray(wide).save(tmp_path / "a.png")
    pixels = np.asarray(decode_image(tmp_path / "a.png"))[:, :, 0]
    np.testing.assert_allclose(pixels, wide / 257, atol=0.51)


def test_real_numbers_are_scaled_by_the_largest():
    pixels = np.asarray(decode_image(np.array([[0.0, 0.5, 1.0]], dtype=np.float32)))[0, :, 0]
    assert pixels.tolist() == [0, 128, 255]
    assert np.asarray(decode_image(np.zeros((2, 2), np.float32))).max() == 0
    assert decode_image(np.full((2, 2), np.nan, np.float32)).size == (2, 2)


def test_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert decode_image(tmp_path / "a.jpg").size == (4, 8)


def test_of_an_animation_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert decode_image(tmp_path / "a.gif").getpixel((2, 2)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 10000), (10000, 1)])
def test_odd_sizes(size, tmp_path):
    Image.new("RGB", size).save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png").size == size


def png_header(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13)
    return start + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\x00\x00\x00\x00IDAT"


@pytest.mark.parametrize("size", [(65500, 65500), (20000, 10000)])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(png_header(*size))
    begin = time.perf_counter()
    with pytest.raises(
        UnreadableImageError, match=r"bomb\.png has .* only 100,000,000 are allowed"
    ):
        decode_image(tmp_path / "bomb.png")
    assert time.perf_counter() - begin < 5  # not the minutes that it would take


def test_the_limit_can_be_set(photo):
    with pytest.raises(UnreadableImageError, match="8 x 6 pixels, but only 47 are allowed"):
        decode_image(photo, max_pixels=47)
    assert decode_image(photo, max_pixels=48).size == (8, 6)


def test_what_is_no_image_is_named_with_the_reason(tmp_path, photo):
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(whole)
    bad = {
        "empty.jpg": b"",
        "text.jpg": b"this is no image",
        "half.jpg": whole.read_bytes()[:900],
        "half.png": photo.read_bytes()[:60],
        "page.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImageError, match=f"{name} cannot be decoded .*: replace"):
            decode_image(tmp_path / name)
    with pytest.raises(UnreadableImageError, match=r"gone\.jpg cannot be read \(No such file"):
        decode_image(tmp_path / "gone.jpg")
    with pytest.raises(UnreadableImageError, match="got int"):
        decode_image(7)


def test_bytes_tell_images_apart(photo):
    assert image_bytes(photo) == photo.read_bytes()
    pixels = np.zeros((2, 3, 3), np.uint8)
    assert image_bytes(pixels) != image_bytes(pixels.reshape(3, 2, 3))
    flat = Image.new("L", (2, 3))
    assert image_bytes(flat) != image_bytes(Image.new("L", (3, 2)))
    assert image_bytes(flat) == image_bytes(Image.new("L", (2, 3)))


def test_names(photo):
    assert image_name(photo) == str(photo)
    assert image_name({"bytes": None, "path": "a.png"}) == "a.png"
    assert image_name({"bytes": b"x", "path": None}) == "<bytes>"
    assert image_name(np.zeros(1)) == "<ndarray>"


def test_the_image_that_was_given_is_not_changed():
    image = Image.new("L", (4, 4), 7)
    decode_image(image).putpixel((0, 0), (1, 2, 3))
    assert image.getpixel((0, 0)) == 7


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "TIF", "JPG", "JPEG"])
def test_other_suffixes(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (4, 3), "red").save(path, format="TIFF" if suffix == "TIF" else "JPEG")
    assert path.suffix.lower() in SUFFIXES
    assert decode_image(path).size == (4, 3)


@pytest.fixture
def no_decoders():
    """Forgets which decoders were there."""
    _check_decoder.cache_clear()
    yield
    _check_decoder.cache_clear()


def ftyp(major, *brands):
    content = major + b"\0\0\0\0" + b"".join(brands)
    return (len(content) + 8).to_bytes(4, "big") + b"ftyp" + content


@pytest.mark.usefixtures("no_decoders")
def test_avif(tmp_path, monkeypatch):
    if features.check("avif"):
        Image.new("RGB", (6, 8), (200, 100, 50)).save(tmp_path / "a.avif")
        assert np.abs(np.asarray(decode_image(tmp_path / "a.avif"), int)[0, 0] - 200).min() <= 3
    _check_decoder.cache_clear()
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(UnreadableImageError, match=r"AVIF needs Pillow 11\.3 or later"):
        decode_image(ftyp(b"mif1", b"mif1", b"avif"))


@pytest.mark.usefixtures("no_decoders")
def test_heic(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for content in (ftyp(b"heic"), ftyp(b"mif1", b"mif1", b"heic")):
        with pytest.raises(UnreadableImageError, match=r"HEIC needs pillow-heif: pip install '.*"):
            decode_image(content)


@pytest.mark.usefixtures("no_decoders")
def test_heic_where_it_is_installed(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.new("RGB", (64, 48), (200, 100, 50))).save(tmp_path / "a.HEIC")
    assert decode_image(tmp_path / "a.HEIC").size == (64, 48)
