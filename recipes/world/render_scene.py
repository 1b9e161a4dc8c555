"""Mitsuba: records in, pictures with exact distances out. Runs in the renderer's own environment only (`fetch.py`).

The scalar variant needs neither LLVM nor a display, and one thread gives the same picture for the same seed.
"""

from dataclasses import dataclass
from pathlib import Path

import drjit
import mitsuba as mi
import numpy as np
from scipy.ndimage import median_filter

mi.set_variant("scalar_rgb")
drjit.set_thread_count(1)

import mitsuba_oidn  # noqa: E402

from recipes.world.render_mesh import Strands, Surface, normals  # noqa: E402

SKINS = {
    "skin": {"roughness": 0.46, "specular": 0.38, "flatness": 0.5, "sheen": 0.15, "clearcoat": 0.06},
    "eye": {"roughness": 0.12, "specular": 0.55, "clearcoat": 1.0, "clearcoat_gloss": 0.97},
    "cloth": {"roughness": 0.9, "specular": 0.1, "sheen": 0.4},
}
"""Parameters of Mitsuba's `principled` for each material."""

Transform = mi.ScalarTransform4f


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What one camera sees in any light; lights share it.

    Attributes:
        albedo: (S, S, 3) colour of what is there.
        outward: (S, S, 3) its normal.
        distance: (S, S) from the camera, scene units; infinite where nothing is.
    """

    albedo: np.ndarray
    outward: np.ndarray
    distance: np.ndarray


def colour(values: np.ndarray) -> dict[str, object]:
    """Return a plain colour for a material."""
    return {"type": "rgb", "value": [float(value) for value in np.clip(values, 0.004, 0.95)]}


def picture(pixels: np.ndarray) -> dict[str, object]:
    """Return an 8-bit picture (H, W, 3) as a material's colour."""
    return {"type": "bitmap", "bitmap": mi.Bitmap(np.array(pixels, np.uint8, order="C", copy=True)), "raw": False}


def matte(reflectance: dict[str, object]) -> dict[str, object]:
    """Return a material without gloss, seen from both sides."""
    return {"type": "twosided", "inner": {"type": "diffuse", "reflectance": reflectance}}


def glossy(base: dict[str, object], **parameters: float) -> dict[str, object]:
    """Return a material with gloss, seen from both sides."""
    return {"type": "twosided", "inner": {"type": "principled", "base_color": base, **parameters}}


def mesh(
    points: np.ndarray, faces: np.ndarray, material: dict[str, object], *,
    outward: np.ndarray | None = None, colours: np.ndarray | None = None, uv: np.ndarray | None = None,
) -> object:  # fmt: skip
    """Return a mesh of triangles for a scene."""
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict(material)
    shape = mi.Mesh(
        "mesh", len(points), len(faces), props=properties, has_vertex_normals=True, has_vertex_texcoords=uv is not None
    )
    if colours is not None:
        shape.add_attribute("vertex_color", 3, colours.astype(np.float32).ravel())
    outward = normals(points, faces) if outward is None else outward
    fields = mi.traverse(shape)
    fields["vertex_positions"] = points.astype(np.float32).ravel()
    fields["faces"] = faces.astype(np.uint32).ravel()
    fields["vertex_normals"] = outward.astype(np.float32).ravel()
    if uv is not None:
        fields["vertex_texcoords"] = uv.astype(np.float32).ravel()
    fields.update()
    return shape


def surface(part: Surface) -> object:
    """Return a surface as a mesh with the colour of its points."""
    material = glossy({"type": "mesh_attribute", "name": "vertex_color"}, **SKINS[part.material])
    return mesh(part.points, part.triangles, material, colours=part.colours)


def curves(hair: Strands, path: Path) -> dict[str, object]:
    """Write strands as Mitsuba's text file and return the shape that reads it; they thin out to the tip."""
    points = np.concatenate([hair.points[:, :1], hair.points, hair.points[:, -1:]], axis=1)
    thickness = np.full(points.shape[1], hair.radius)
    thickness[-3:] *= [0.7, 0.3, 0.3]
    rows = np.concatenate([points, np.broadcast_to(thickness[:, None], (*points.shape[:2], 1))], axis=2)
    strand = "%.4f %.4f %.4f %.4f\n" * rows.shape[1] + "\n"
    path.write_text(strand * len(rows) % tuple(rows.ravel().tolist()))  # one format: four times as fast as lines
    look = {"type": "principled", "base_color": colour(hair.colour), "roughness": 0.38, "specular": 0.5, "sheen": 0.2}
    return {"type": "bsplinecurve", "filename": str(path), "bsdf": look}


def camera(origin: np.ndarray, target: np.ndarray, angle: float, side: int, samples: int) -> dict[str, object]:
    """Return a camera of `angle` degrees; the denoiser needs the box filter."""
    return {
        "type": "perspective",
        "fov": angle,
        "to_world": Transform().look_at(origin=list(map(float, origin)), target=list(map(float, target)), up=[0, 1, 0]),
        "film": {"type": "hdrfilm", "width": side, "height": side, "rfilter": {"type": "box"}},
        "sampler": {"type": "independent", "sample_count": samples},
    }


def lamp(place: np.ndarray, target: np.ndarray, size: float, power: np.ndarray) -> dict[str, object]:
    """Return a square lamp that faces a point."""
    aim = Transform().look_at(origin=list(map(float, place)), target=list(map(float, target)), up=[0, 1, 0.01])
    light = {"type": "area", "radiance": {"type": "rgb", "value": [float(value) for value in power]}}
    return {"type": "rectangle", "to_world": aim @ Transform().scale(size), "emitter": light}


def portrait(
    surfaces: dict[str, Surface], hair: dict[str, Strands], backdrop: np.ndarray, side: int, samples: int, folder: Path
) -> dict[str, object]:
    """Return a person before a printed backdrop, 12.2 from the camera, without any light.

    The hair's files lie in `folder` and are read when the scene is loaded.
    """
    scene: dict[str, object] = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 3, "hide_emitters": True},
        "sensor": camera(np.array([0, -0.1, 9]), np.array([0, -0.22, 0]), 22, side, samples),
        "backdrop": {
            "type": "rectangle",
            "to_world": Transform().translate([0, -0.25, -3.2]) @ Transform().scale(2.7),
            "bsdf": matte(picture(backdrop)),
        },
    }
    scene |= {name: surface(part) for name, part in surfaces.items()}
    return scene | {name: curves(strands, folder / f"{name}.txt") for name, strands in hair.items()}


def look(scene: object, sensor: object, samples: int, seed: int) -> Layers:
    """Measure what a camera sees; no light is needed.

    Distance is that of one ray a pixel: a mean over rays counts one that hits nothing as 0, which is nearest of all.
    """
    paint, ray = (mi.load_dict({"type": "aov", "aovs": aovs}) for aovs in (
        "albedo:albedo,normal:sh_normal", "distance:depth"))  # fmt: skip
    layers = np.array(mi.render(scene, sensor=sensor, integrator=paint, spp=samples, seed=seed))[..., -6:]
    albedo, outward = (np.ascontiguousarray(np.nan_to_num(part), np.float32) for part in np.split(layers, 2, axis=2))
    distance = np.array(mi.render(scene, sensor=sensor, integrator=ray, spp=1, seed=seed))[..., -1]
    return Layers(albedo=albedo, outward=outward, distance=without_holes(np.where(distance > 0, distance, np.inf)))


def without_holes(distance: np.ndarray) -> np.ndarray:
    """Fill single pixels whose ray slipped through a seam: the median of the pixels around them."""
    return np.where(np.isinf(distance), median_filter(distance, 3), distance)


def shoot(scene: object, sensor: object, seen: Layers, samples: int, seed: int) -> np.ndarray:
    """Render a camera's picture: linear light (S, S, 3), denoised by what the camera sees."""
    noisy = np.array(mi.render(scene, sensor=sensor, spp=samples, seed=seed))[..., :3]
    noisy = np.ascontiguousarray(np.nan_to_num(noisy), np.float32)
    return np.asarray(mitsuba_oidn.denoise(noisy, albedo=seen.albedo, normal=seen.outward, hdr=True))


def exposed(light: np.ndarray, exposure: float) -> np.ndarray:
    """Return 8-bit sRGB of linear light under a film curve.

    Source of the curve: Narkowicz 2015, ACES filmic tone mapping curve.
    """
    x = np.maximum(light * exposure, 0)
    film = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)
    return (np.clip(film, 0, 1) ** (1 / 2.2) * 255).round().astype(np.uint8)


def nearness(distance: np.ndarray) -> np.ndarray:
    """Return 16-bit nearness: 65535 at the nearest pixel, 0 at the farthest, linear in 1 / distance."""
    inverse = 1 / distance
    span = max(float(inverse.max() - inverse.min()), 1e-9)
    return ((inverse - inverse.min()) / span * 65_535).round().astype(np.uint16)
