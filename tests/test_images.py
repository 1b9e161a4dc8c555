"""Every kind of picture file is read right or refused with one sentence."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from anyrefill import UserError, images
from panels import random_panel

RAMP = np.arange(32 * 48, dtype=np.float64).reshape(32, 48) / (32 * 48 - 1)
"""Grey from 0 to 1."""


def ramp8() -> np.ndarray:
    return (RAMP * 255).round().astype(np.uint8)


def levels(path: Path | Image.Image) -> np.ndarray:
    """Return what was loaded, checked to be 8-bit RGB."""
    picture = images.load(path)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def write_png(path: Path, width: int, height: int) -> Path:
    """Write a PNG that claims a size and holds no pixels: whoever decodes it fails."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)))
    with path.open("ab") as file:
        file.write(struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))
    return path


# ------------------------------------------------------------------ read right


def test_rgb_is_unchanged(tmp_path: Path) -> None:
    images.to_pil(random_panel()).save(tmp_path / "a.png")
    assert torch.equal(images.to_panel(tmp_path / "a.png"), random_panel())
    assert torch.equal(images.to_panel(str(tmp_path / "a.png")), random_panel())


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert (levels(tmp_path / "a.tif") == [255, 0, 0]).all()


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled(name: str, tmp_path: Path) -> None:
    Image.fromarray((RAMP * 65535).round().astype(np.uint16)).save(tmp_path / name)
    assert np.abs(levels(tmp_path / name).astype(int) - (RAMP * 255)[..., None]).max() <= 0.51


def test_sixteen_bits_keep_the_range_of_the_file_type(tmp_path: Path) -> None:
    """A dark picture stays dark: its own maximum is not its range."""
    Image.fromarray(np.full((16, 16), 257 * 3, np.uint16)).save(tmp_path / "a.png")
    assert (levels(tmp_path / "a.png") == 3).all()


def test_sixteen_bit_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.repeat((ramp8().astype(np.uint16) * 257)[..., None], 3, axis=2))
    assert (levels(tmp_path / "a.png") == ramp8()[..., None]).all()


def test_a_shade_of_sixteen_bits_can_be_transparent(tmp_path: Path) -> None:
    values = np.full((16, 16), 257 * 9, np.uint16)
    values[:4] = 300
    Image.fromarray(values).save(tmp_path / "a.png", transparency=300)
    assert (levels(tmp_path / "a.png")[:4] == 255).all()
    assert (levels(tmp_path / "a.png")[4:] == 9).all()


def test_32_bit_integers_are_sixteen_bits_in_a_wider_type(tmp_path: Path) -> None:
    Image.fromarray(ramp8().astype(np.int32) * 257).save(tmp_path / "a.tif")
    assert (levels(tmp_path / "a.tif") == ramp8()[..., None]).all()


def test_portable_greymap_of_ten_bits(tmp_path: Path) -> None:
    values = np.full((16, 16), 1023, ">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5\n16 16\n1023\n" + values.tobytes())
    assert (levels(tmp_path / "a.pgm") == 255).all()


@pytest.mark.parametrize("full", [1, 255, 65535])
def test_floats_are_scaled_by_the_range_that_holds_them(full: int, tmp_path: Path) -> None:
    Image.fromarray((RAMP * full).astype(np.float32)).save(tmp_path / "a.tif")
    assert np.abs(levels(tmp_path / "a.tif").astype(int) - ramp8()[..., None]).max() <= 1


@pytest.mark.parametrize(("low", "high"), [(-5.0, 1.0), (0.0, 70000.0), (float("nan"), 1.0)])
def test_floats_without_a_known_range_are_refused(low: float, high: float) -> None:
    values = np.full((16, 16), high, np.float32)
    values[0] = low
    with pytest.raises(UserError, match=r"picture has values from .*; they must be 0 to 65535\."):
        images.load(Image.fromarray(values))


def test_grey(tmp_path: Path) -> None:
    Image.fromarray(ramp8()).save(tmp_path / "a.png")
    assert (levels(tmp_path / "a.png") == ramp8()[..., None]).all()


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(ramp8() > 127).save(tmp_path / "a.png")
    assert (levels(tmp_path / "a.png") == np.where(ramp8() > 127, 255, 0)[..., None]).all()


def test_palette(tmp_path: Path) -> None:
    picture = Image.new("P", (16, 16), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.save(tmp_path / "a.png")
    assert (levels(tmp_path / "a.png") == [10, 20, 30]).all()
    picture.save(tmp_path / "b.png", transparency=1)
    assert (levels(tmp_path / "b.png") == 255).all(), "transparent shows the white paper"


@pytest.mark.parametrize(("alpha", "expected"), [(255, 0), (0, 255), (51, 204)])
def test_alpha_lies_over_white(alpha: int, expected: int, tmp_path: Path) -> None:
    Image.new("RGBA", (16, 16), (0, 0, 0, alpha)).save(tmp_path / "a.png")
    Image.new("LA", (16, 16), (0, alpha)).save(tmp_path / "b.png")
    assert (levels(tmp_path / "a.png") == expected).all()
    assert (levels(tmp_path / "b.png") == expected).all()


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (levels(tmp_path / "a.gif") == [255, 0, 0]).all()


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_exif_rotation(orientation: int, turns: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(ramp8()).save(tmp_path / "a.png", exif=exif)
    assert (levels(tmp_path / "a.png")[..., 0] == np.rot90(ramp8(), turns)).all()


@pytest.mark.parametrize("mode", ["LAB", "HSV", "YCbCr", "PA", "RGBa", "RGBX"])
def test_other_colour_modes_become_rgb(mode: str) -> None:
    assert images.load(Image.new(mode, (16, 16))).mode == "RGB"


# ------------------------------------------------------------------ refused


def test_no_file() -> None:
    with pytest.raises(UserError, match=r"^There is no file nowhere\.png\.$"):
        images.load("nowhere.png")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder, not a picture\.$"):
        images.load(tmp_path)


def test_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(UserError, match=r"a\.png is empty \(0 bytes\)\.$"):
        images.load(tmp_path / "a.png")


def test_not_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("<html>404</html>")
    with pytest.raises(UserError, match=r"a\.png is not a picture, or its beginning is damaged\.$"):
        images.load(tmp_path / "a.png")


def test_a_telephones_picture_is_told_from_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    with pytest.raises(UserError, match=r"a\.heic is a picture of the kind HEIC, .*: save it as JPEG or PNG\.$"):
        images.load(tmp_path / "a.heic")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp", "a.avif"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated(name: str, share: float, tmp_path: Path) -> None:
    images.to_pil(random_panel(128, 128)).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"(is broken or cut short|not a picture)") as error:
        images.load(tmp_path / name)
    assert str(error.value).count(".") <= 3
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("width", "height"), [(8001, 8000), (20000, 5000), (60000, 60000)])
def test_too_many_pixels_are_refused_before_decoding(width: int, height: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"64,000,000"):
        images.load(write_png(tmp_path / "a.png", width, height))


@pytest.mark.parametrize("size", [(15, 400), (400, 15), (1, 1)])
def test_too_small(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=rf"is {size[0]} x {size[1]} px; both sides must be at least 16 px\.$"):
        images.load(Image.new("RGB", size))


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images.to_pil(random_panel()).save(tmp_path / "a.png")

    def refuse(_path: Path, _mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"^Cannot read .*a\.png: Permission denied\.$"):
        images.load(tmp_path / "a.png")


# ------------------------------------------------------------------ fitted


@pytest.mark.parametrize(
    ("native", "goal"), [((16, 16), (16, 16)), ((300, 500), (304, 496)), ((24, 23), (32, 16)), ((100, 40), (96, 48))]
)
def test_sides_go_to_the_nearest_multiple_of_16(native: tuple[int, int], goal: tuple[int, int]) -> None:
    fitted = images.fit(Image.new("RGB", (native[1], native[0]), (255, 0, 0)))
    assert fitted.panel.shape == (3, *goal)
    assert fitted.native == native
    assert fitted.panel[:, 5, 5].tolist() == [1, -1, -1]
    if native == goal:
        assert fitted.note == ""
    else:
        assert fitted.note == (
            f"picture was resized from {native[1]} x {native[0]} px to {goal[1]} x {goal[0]} px"
            " since sides must be multiples of 16 px."
        )


@pytest.mark.parametrize(("native", "stretched"), [((64, 96), False), ((64, 64), True)])
def test_a_second_panel_is_fitted_to_the_first(native: tuple[int, int], stretched: bool) -> None:
    fitted = images.fit(Image.new("RGB", (native[1], native[0])), size=(32, 48))
    assert fitted.panel.shape == (3, 32, 48)
    assert "to 48 x 32 px to fit the panel" in fitted.note
    assert ("proportions changed" in fitted.note) is stretched


@pytest.mark.parametrize("size", [(30, 48), (0, 16), (16, 40)])
def test_a_panel_needs_a_size_that_tokens_cover(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="must be at least 16 px and multiples of 16"):
        images.fit(Image.new("RGB", (64, 64)), size)


@given(st.integers(0, 2**30))
def test_panels_survive_pil(seed: int) -> None:
    panel = random_panel(16, 16, seed)
    assert torch.equal(images.to_panel(images.to_pil(panel)), panel)


def test_values_outside_the_range_are_clipped() -> None:
    assert np.asarray(images.to_pil(torch.full((3, 16, 16), 1.7))).min() == 255
    assert np.asarray(images.to_pil(torch.full((3, 16, 16), -9.0))).max() == 0


# ------------------------------------------------------------------ masks

PAINTED = np.zeros((32, 48), bool)
PAINTED[4:20, 8:30] = True


def rgba(colour: tuple[int, int, int], background: tuple[int, int, int]) -> Image.Image:
    """Return strokes of one colour, opaque on a transparent layer."""
    pixels = np.where(PAINTED[..., None], np.array([*colour, 255]), np.array([*background, 0])).astype(np.uint8)
    return Image.fromarray(pixels)


MASKS: dict[str, Callable[[], Image.Image]] = {
    "1 bit": lambda: Image.fromarray(PAINTED),
    "8 bit": lambda: Image.fromarray(PAINTED.astype(np.uint8) * 255),
    "16 bit": lambda: Image.fromarray(PAINTED.astype(np.uint16) * 65535),
    "32 bit": lambda: Image.fromarray(PAINTED.astype(np.int32) * 65535),
    "float": lambda: Image.fromarray(PAINTED.astype(np.float32)),
    "RGB": lambda: Image.fromarray(PAINTED.astype(np.uint8) * 255).convert("RGB"),
    "palette": lambda: Image.fromarray(PAINTED.astype(np.uint8) * 255).convert("P"),
    "opaque RGBA": lambda: Image.fromarray(PAINTED.astype(np.uint8) * 255).convert("RGBA"),
    "white strokes on a white layer": lambda: rgba((255, 255, 255), (255, 255, 255)),
    "black strokes on a black layer": lambda: rgba((0, 0, 0), (0, 0, 0)),
    "red strokes on a black layer": lambda: rgba((255, 0, 0), (0, 0, 0)),
    "grey with alpha": lambda: rgba((7, 7, 7), (7, 7, 7)).convert("LA"),
    "fully transparent colours": lambda: Image.merge(
        "RGBA", [Image.fromarray(PAINTED.astype(np.uint8) * 255)] * 3 + [Image.new("L", (48, 32), 0)]
    ),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_every_kind(kind: str, tmp_path: Path) -> None:
    picture = MASKS[kind]()
    path = tmp_path / ("a.tif" if picture.mode in ("I", "F") else "a.png")
    picture.save(path)
    for source in (picture, path):
        mask = images.to_mask(source, (32, 48))
        assert mask.dtype == torch.float32
        assert torch.equal(mask, torch.from_numpy(PAINTED.astype(np.float32))[None])


@pytest.mark.parametrize("mode", ["LAB", "HSV", "YCbCr", "CMYK", "RGBX"])
def test_masks_of_other_colour_modes(mode: str) -> None:
    mask = Image.new("RGB", (32, 32))
    mask.paste((255, 255, 255), (8, 8, 24, 24))
    if mode == "LAB":
        lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        mask = ImageCms.applyTransform(mask, lab)
    found = images.to_mask(mask if mode == "LAB" else mask.convert(mode), (32, 32))
    assert found.sum() == 16 * 16
    assert found[0, 8:24, 8:24].all()


def test_masks_are_cut_at_a_half() -> None:
    values = np.array([0, 127, 128, 255], np.uint8).repeat(4)[None].repeat(16, 0)
    assert images.to_mask(Image.fromarray(values), (16, 16))[0, 0, ::4].tolist() == [0, 0, 1, 1]
    layer = np.zeros((16, 16, 4), np.uint8)
    layer[..., 3] = values
    assert images.to_mask(Image.fromarray(layer), (16, 16))[0, 0, ::4].tolist() == [0, 0, 1, 1]


def test_a_photo_with_an_erased_part_is_no_mask() -> None:
    pixels = np.array(images.to_pil(random_panel()).convert("RGBA"))
    pixels[..., 3] = np.where(PAINTED, 0, 255)
    with pytest.raises(UserError, match=r"both colour and transparency vary: save it in black and white"):
        images.to_mask(Image.fromarray(pixels), (32, 48))


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(UserError, match=r"picture is 48 x 32 px but its target is 64 x 64 px: make them the same size"):
        images.to_mask(MASKS["8 bit"](), (64, 64))
    with pytest.raises(UserError, match=r"but its target is 50 x 33 px"):
        images.to_mask(Image.new("L", (96, 64), 255), (32, 48), native=(33, 50))


def test_a_mask_follows_its_fitted_target() -> None:
    mask = images.to_mask(Image.fromarray(PAINTED).resize((50, 35), Image.Resampling.NEAREST), (32, 48), (35, 50))
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert (mask[0].numpy() != PAINTED).mean() < 0.1


def test_what_a_format_cannot_hold_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot write .*wide\.webp: .*WebP"):
        images.save(Image.new("RGB", (17_000, 16)), tmp_path / "wide.webp")
    assert not list(tmp_path.iterdir())


def test_a_name_longer_than_any_file_is_refused() -> None:
    with pytest.raises(UserError, match="Cannot read x+.png: File name too long"):
        images.load(f"{'x' * 300}.png")


def test_a_thin_stroke_stays_in_a_smaller_panel() -> None:
    stroke = Image.new("L", (512, 512))
    stroke.paste(255, (0, 250, 512, 252))
    mask = images.to_mask(stroke, (128, 128), (512, 512))
    assert mask.sum() == 128
    assert mask[0, 62].all()


@pytest.mark.parametrize(
    "empty", [Image.new("L", (48, 32), 0), Image.new("1", (48, 32)), Image.new("L", (48, 32), 127)]
)
def test_an_empty_mask_is_refused(empty: Image.Image) -> None:
    with pytest.raises(UserError, match=r"The mask picture is empty: paint what is to be filled in white\."):
        images.to_mask(empty, (32, 48))


def test_a_full_mask_is_fine() -> None:
    assert images.to_mask(Image.new("L", (48, 32), 255), (32, 48)).all()


# ------------------------------------------------------------------ written


@pytest.mark.parametrize("extension", images.WRITABLE)
def test_pictures_are_written(extension: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"a{extension}"
    images.save(Image.new("RGB", (32, 16), "white"), path)
    assert images.load(path).size == (32, 16)
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_a_written_picture_has_the_usual_permissions(tmp_path: Path) -> None:
    images.save(Image.new("RGB", (16, 16)), tmp_path / "a.png")
    (tmp_path / "b").touch()
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("name", ["a", "a.xyz", "a.png.txt"])
def test_an_unknown_extension_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"its name must end in one of \.png, \.jpg"):
        images.save(Image.new("RGB", (16, 16)), tmp_path / name)


def test_an_unwritable_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dir.png").mkdir()
    with pytest.raises(UserError, match=r"^Cannot write .*a\.png: .*file is not a folder\.$"):
        images.save(Image.new("RGB", (16, 16)), tmp_path / "file" / "a.png")
    with pytest.raises(UserError, match=r"^Cannot write .*: Is a directory\.$"):
        images.save(Image.new("RGB", (16, 16)), tmp_path / "dir.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir.png", "file"]


def test_a_failed_write_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images.save(Image.new("RGB", (16, 16), "red"), tmp_path / "a.png")

    def full(_self: Image.Image, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="No space left on device"):
        images.save(Image.new("RGB", (16, 16), "blue"), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (levels(tmp_path / "a.png") == [255, 0, 0]).all()


def test_contact_sheet_places_its_panels() -> None:
    red, blue = (
        torch.tensor(colour).view(3, 1, 1).expand(3, 16, 32).clone() for colour in ([1.0, -1, -1], [-1, -1, 1.0])
    )
    sheet = images.contact_sheet([[red, blue], [blue]], labels=["one", "two"], gap=4)
    assert sheet.size == (2 * 36 + 4, 2 * 20 + 4 + 20)
    pixels = np.asarray(sheet)
    assert pixels[30, 10].tolist() == [255, 0, 0]
    assert pixels[30, 50].tolist() == pixels[50, 10].tolist() == [0, 0, 255]
    assert pixels[50, 50].tolist() == [255, 255, 255]
    assert pixels[:20].min() < 128, "labels are written"
    assert images.contact_sheet([[red]]).size == (40, 24)


def test_an_empty_contact_sheet_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one panel"):
        images.contact_sheet([[]])


def exif_of(*entries: tuple[int, int, int, bytes]) -> bytes:
    """Return an EXIF block of (tag, type, count, up to four bytes of value)."""
    packed = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4)


@pytest.mark.parametrize("tag", [0x0100, 0x011A], ids=["a width in letters", "a resolution in letters"])
def test_exif_that_keeps_no_rule_still_turns_the_picture(tag: int, tmp_path: Path) -> None:
    upright = (0x0112, 3, 1, b"\6\0")
    for name, entries in (("plain", [upright]), ("odd", [(tag, 2, 4, b"abc\0"), upright])):
        Image.fromarray(ramp8()).save(tmp_path / f"{name}.png", exif=exif_of(*entries))
    turned = images.load(tmp_path / "odd.png")
    assert turned.size == ramp8().shape[:2]
    assert np.array_equal(np.asarray(turned), np.asarray(images.load(tmp_path / "plain.png")))


def swapped_profile() -> bytes:
    """Return the profile of a screen whose red is sRGB's green, and the other way round."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = (profile.index(tag, 128) for tag in (b"rXYZ", b"gXYZ"))
    profile[red : red + 4], profile[green : green + 4] = profile[green : green + 4], profile[red : red + 4]
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_of_a_profile_become_srgb(mode: str, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (255, 0, 0)).convert(mode).save(tmp_path / "a.png", icc_profile=swapped_profile())
    assert np.asarray(images.load(tmp_path / "a.png")).mean(axis=(0, 1)) == pytest.approx([0, 255, 0], abs=3)


@pytest.mark.parametrize("profile", [b"no profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()])
def test_a_broken_profile_and_srgb_itself_change_nothing(profile: bytes, tmp_path: Path) -> None:
    Image.fromarray(ramp8()).convert("RGB").save(tmp_path / "a.png", icc_profile=profile)
    assert np.array_equal(
        np.asarray(images.load(tmp_path / "a.png")), np.asarray(Image.fromarray(ramp8()).convert("RGB"))
    )


@pytest.mark.parametrize("suffix", images.WRITABLE)
def test_what_is_written_keeps_its_pixels_and_jpeg_nearly(suffix: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    images.save(Image.fromarray(pixels), tmp_path / f"a{suffix}")
    lost = np.abs(np.asarray(images.load(tmp_path / f"a{suffix}")).astype(int) - pixels).max()
    assert lost <= (8 if suffix in (".jpg", ".jpeg") else 0)
