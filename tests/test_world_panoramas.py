"""Views of panoramas show what lies where the camera looks; files are read whatever holds them."""

import base64
from pathlib import Path

import numpy as np
import pytest
from recipes.world.panoramas import Panorama, developed, look, panoramas, read

COLUMNS, ROWS = 360, 180


def a_ramp() -> Panorama:
    """Return a panorama whose red is the longitude, half a degree short of it, and whose green is the latitude."""
    red = np.arange(COLUMNS) * 255 / COLUMNS
    green = np.arange(ROWS) * 255 / ROWS
    pixels = np.stack(np.broadcast_arrays(red[None], green[:, None], np.zeros((ROWS, COLUMNS))), 2).astype(np.uint8)
    return Panorama(pixels=pixels, caption="a ramp", held_out=False)


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (90, 0), (-100, 30), (20, -40)])
def test_the_middle_of_a_view_is_where_the_camera_looks(yaw: float, pitch: float) -> None:
    middle = look(a_ramp(), yaw, pitch, 60, 65)[32, 32]
    assert middle[0] == pytest.approx((yaw + 180) * 255 / 360, abs=2)
    assert middle[1] == pytest.approx((90 - pitch) * 255 / 180, abs=2)


def test_a_view_spans_its_field_and_goes_across_the_seam() -> None:
    seen = look(a_ramp(), 0, 0, 90, 128)
    across = (int(seen[64, -1, 0]) - int(seen[64, 0, 0])) * 360 / 255
    assert across == pytest.approx(90, abs=3)
    assert seen[0, 64, 1] < seen[-1, 64, 1], "the top row looks up"
    behind = look(a_ramp(), 180, 0, 60, 64)
    assert behind[32, 0, 0] > 200
    assert behind[32, -1, 0] < 50


def test_light_becomes_a_photograph_of_middle_brightness() -> None:
    light = np.exp(np.random.default_rng(0).normal(3, 1.5, (64, 128, 3))).astype(np.float32)
    light[0, 0] = np.inf, np.nan, -1
    pixels = developed(light)
    assert pixels.dtype == np.uint8
    assert 90 < np.median(pixels) < 150
    assert (
        np.array_equal(pixels[1:], developed(light * 7)[1:])
        or np.abs(pixels[1:].astype(int) - developed(light * 7)[1:]).max() <= 2
    )


def test_files_of_both_packages_are_read_and_split_by_name(tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    light = np.random.default_rng(1).random((8, 16, 3), np.float32)
    blender = tmp_path / "x/blender-data/usr/share/blender/datafiles/studiolights/world"
    module = tmp_path / "x/npm_pmndrs-assets/package/hdri"
    for folder in (blender, module):
        folder.mkdir(parents=True)
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    with exr.File(header, {"RGB": light}) as file:
        file.write(str(blender / "interior.exr"))
    coded = base64.b64encode((blender / "interior.exr").read_bytes()).decode()
    (module / "park.exr.js").write_text(f"export default 'data:application/exr;base64,{coded}'")
    (module / "sky.exr.js").write_text("export default 1")
    with pytest.raises(ValueError, match=r"sky\.exr\.js"):
        read(module / "sky.exr.js")
    (module / "sky.exr.js").unlink()
    (park,), (interior,) = panoramas(tmp_path), panoramas(tmp_path, held_out=True)
    assert (park.caption, interior.caption) == ("a park", "a hotel room")
    assert np.array_equal(read(module / "park.exr.js"), light)
    assert np.array_equal(park.pixels, developed(light))
