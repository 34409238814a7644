"""Images with channels, from files and folders, and the pictures that are made of them."""

import io
from pathlib import Path

import numpy as np
import pytest
from image_files import model, npy, npz
from msgspec.structs import replace
from PIL import Image
from trainings import train

from ganbench.data import data_digest, load_images
from ganbench.errors import DataError, UnavailableError
from ganbench.gan import GANSpec, preset
from ganbench.layers import ConvTransposeTable
from ganbench.training.pictures import grid, strip

RNG = np.random.default_rng(0)


def images_of(c: int, h: int, w: int) -> GANSpec:
    """Return a model of such images."""
    generator = (4, ConvTransposeTable(out=c, kernel=h, activation="tanh")) if h == w else (4, c * h * w)
    more = {} if h == w else {"generator_activations": ("tanh",)}
    return GANSpec(generator=generator, discriminator=((c, h, w), 1), batch=4, **more)


COLOUR, GREY, WIDE = images_of(3, 6, 6), images_of(1, 6, 6), images_of(3, 4, 6)


def bytes_of(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def loaded(folder: Path, images: np.ndarray, spec: GANSpec) -> np.ndarray:
    path = folder / "images"
    path.write_bytes(npy(images))
    return load_images(spec, path)


@pytest.mark.parametrize("spec", [COLOUR, WIDE], ids=["square", "wide"])
def test_channels_may_come_first_or_last(tmp_path, spec):
    images = bytes_of(5, *spec.image_shape)
    expected = images.reshape(5, -1) / 127.5 - 1
    for stored in (images, np.moveaxis(images, 1, 3)):
        np.testing.assert_allclose(loaded(tmp_path, stored, spec), expected, atol=1e-12)
    (tmp_path / "packed").write_bytes(npz(images=np.moveaxis(images, 1, 3)))
    np.testing.assert_array_equal(load_images(spec, tmp_path / "packed"), loaded(tmp_path, images, spec))


def test_an_image_as_the_model_says_it_is_never_turned(tmp_path):
    """3 × 3 × 3 could be both: channels come first, as everywhere."""
    images = bytes_of(5, 3, 3, 3)
    np.testing.assert_allclose(loaded(tmp_path, images, images_of(3, 3, 3)), images.reshape(5, -1) / 127.5 - 1)


@pytest.mark.parametrize("shape", [(5, 6, 6), (5, 1, 6, 6), (5, 6, 6, 1), (5, 36)])
@pytest.mark.parametrize("spec", [GREY, model(36, "tanh")], ids=["image", "width"])
def test_grey_images_may_say_their_channel(tmp_path, spec, shape):
    images = bytes_of(*shape)
    np.testing.assert_allclose(loaded(tmp_path, images, spec), images.reshape(5, -1) / 127.5 - 1, atol=1e-12)


def test_squares_of_another_size_are_resized_channel_by_channel(tmp_path):
    images = bytes_of(5, 3, 12, 12)
    rows = loaded(tmp_path, images, COLOUR).reshape(5, 3, 36)
    for channel in range(3):
        np.testing.assert_array_equal(rows[:, channel], loaded(tmp_path, images[:, channel], GREY))
    np.testing.assert_array_equal(loaded(tmp_path, np.moveaxis(images, 1, 3), COLOUR), rows.reshape(5, -1))


@pytest.mark.parametrize(
    ("shape", "spec", "valid"),
    [
        ((5, 6, 6), COLOUR, "(n, 108); (n, 3, 6, 6), (n, 6, 6, 3); squares of another size with 3 channels, which are"),
        ((5, 12, 9), COLOUR, "(n, 3, 6, 6)"),
        ((5, 1, 6, 6), COLOUR, "(n, 3, 6, 6)"),
        ((5, 6, 6, 4), COLOUR, "(n, 3, 6, 6)"),
        ((5, 3, 6, 6), GREY, "(n, 36); (n, 1, 6, 6), (n, 6, 6, 1); (n, 6, 6); squares of another size with 1 channel,"),
        ((5, 4, 9), GREY, "(n, 6, 6)"),
        ((5, 3, 8, 8), WIDE, "(n, 72); (n, 3, 4, 6), (n, 4, 6, 3); n is at least 1"),
        ((0, 3, 6, 6), COLOUR, "n is at least 1"),
        ((5, 2, 3, 6, 6), COLOUR, "(n, 3, 6, 6)"),
        ((5, 3, 5, 2), model(30, "tanh"), "more axes where the model says [C, H, W] instead of a width"),
    ],
)
def test_a_channel_is_neither_repeated_nor_dropped(tmp_path, shape, spec, valid):
    with pytest.raises(DataError) as caught:
        loaded(tmp_path, bytes_of(*shape), spec)
    assert f"shape {shape} does not fit this model: valid are " in str(caught.value)
    assert valid in str(caught.value)


# Folders


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos" / "more").mkdir(parents=True)
    return tmp_path / "photos"


def test_a_folder_is_the_images_in_it_by_name(folder):
    images = bytes_of(3, 6, 6, 3)
    for name, image in zip(("a.png", "b.PNG", "more/c.png"), images, strict=True):
        Image.fromarray(image).save(folder / name)
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "about.txt").write_text("not an image")
    np.testing.assert_array_equal(load_images(COLOUR, folder), loaded(folder.parent, images, COLOUR))
    before = data_digest(folder)
    (folder / "about.txt").write_text("still none")
    assert data_digest(folder) == before
    Image.fromarray(images[0]).save(folder / "b.PNG")
    assert data_digest(folder) != before


def test_jpeg_palettes_and_bits(folder):
    smooth = np.linspace(0, 255, 256).astype(np.uint8).reshape(16, 16)
    Image.fromarray(smooth).save(folder / "a.jpg", quality=95)
    Image.fromarray(smooth).save(folder / "b.png")
    Image.fromarray(smooth > 127).save(folder / "c.png")
    grey = load_images(images_of(1, 16, 16), folder)
    assert abs(grey[0] - grey[1]).max() < 0.1
    np.testing.assert_array_equal(grey[2], np.where(smooth > 127, 1.0, -1.0).ravel())
    for path in folder.glob("*.*"):
        path.unlink()
    Image.fromarray(bytes_of(16, 16, 3)).quantize(8).save(folder / "d.png")
    assert load_images(images_of(3, 16, 16), folder).shape == (1, 768)


def test_folders_that_cannot_be_read(folder, monkeypatch):
    def refused(spec=COLOUR):
        with pytest.raises(DataError) as caught:
            load_images(spec, folder)
        assert f"data {folder}: " in str(caught.value)
        return str(caught.value)

    assert "holds no .png, .jpg or .wav file" in refused()
    Image.fromarray(bytes_of(6, 6, 3)).save(folder / "a.png")
    assert "shape (1, 6, 6, 3) does not fit this model: valid are (n, 36)" in refused(GREY)
    Image.fromarray(bytes_of(6, 7, 3)).save(folder / "b.png")
    assert "b.png is 6 × 7 in colour, but a.png is 6 × 6 in colour: all must have one size" in refused()
    Image.fromarray(bytes_of(6, 6)).save(folder / "b.png")
    assert "b.png is 6 × 6 grey, but a.png is 6 × 6 in colour" in refused()
    Image.fromarray(bytes_of(6, 6, 4)).save(folder / "b.png")
    assert "b.png holds RGBA: valid are grey (L) and colour (RGB), 8 bits each" in refused()
    whole = io.BytesIO()
    Image.fromarray(bytes_of(6, 6, 3)).save(whole, "PNG")
    for damaged in (b"", b"GIF89a", whole.getvalue()[:60]):
        (folder / "b.png").write_bytes(damaged)
        assert "b.png cannot be read as a PNG or JPEG file: " in refused()
    (folder / "c.wav").write_bytes(b"")
    assert "holds 2 pictures and 1 WAV files: pass a folder of one kind" in refused()


def test_without_pillow(folder, monkeypatch):
    Image.fromarray(bytes_of(6, 6, 3)).save(folder / "a.png")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="needs PIL: pip install"):
        load_images(COLOUR, folder)


# What training draws


def drawn(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_pictures_of_training_are_in_colour():
    spec = images_of(3, 64, 64)
    images = np.full((2, 3, 64, 64), -1.0)
    images[0, 0] = images[1, 2] = 1  # red, then blue
    sheet = drawn(grid(images.reshape(2, -1), spec, sound=False))
    assert sheet.shape == (68, 134, 3)
    assert sheet[10, 10].tolist() == [255, 0, 0]
    assert sheet[10, 100].tolist() == [0, 0, 255]
    assert drawn(strip(images.reshape(2, 1, -1), [0, 9], spec, sound=False)).shape[2] == 3


def test_pictures_keep_the_sides_of_an_image():
    rows = np.linspace(-1, 1, 28).reshape(1, 28)
    spec = replace(images_of(1, 4, 7), discriminator=((1, 4, 7), 1))
    assert drawn(grid(rows, spec, sound=False)).shape == (4 + 32, 4 + 56)
    assert drawn(grid(np.zeros((1, 784)), preset("dcgan-28"), sound=False)).shape == (60, 60)
    assert drawn(grid(np.zeros((1, 1024)), preset("speech"), sound=True)).shape == (60, 132), "curves"


@pytest.mark.workers
def test_a_folder_of_photos_becomes_a_training_in_colour(folder, tmp_path):
    for number in range(8):
        Image.fromarray(np.full((6, 6, 3), (255, 10 * number, 0), np.uint8)).save(folder / f"{number}.png")
    train("numpy", tmp_path / "out", spec=COLOUR, data=folder, iterations=4)
    assert drawn((tmp_path / "out" / "samples.png").read_bytes()).ndim == 3
    assert {"samples.png", "strip.png"} < {path.name for path in (tmp_path / "out").iterdir()}
