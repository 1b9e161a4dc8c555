"""Rooms: a floor, two walls, furniture of one kind of room, and two cameras that see the same things.

The models are Sweet Home 3D's (OBJ, CC0 or CC-BY-3.0, `Model.credit` names the author); floors and walls are drawn
here. Held-out models furnish held-out rooms alone.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from recipes.world.fetch import WORLD
from recipes.world.furniture import Entry, entries
from recipes.world.sources import held_out_by_hash

KINDS = ("Living room", "Bedroom", "Office", "Kitchen", "Bathroom")
HEIGHT = 2.6
HEAVIEST = 1_200_000
"""Bytes of a model's file, about 50,000 triangles; larger ones are left out."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A piece of furniture: its file, words, kind of room, size (width, height, depth) in metres, and its credit."""

    path: Path
    name: str
    kind: str
    size: np.ndarray
    credit: str
    held_out: bool


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A model on the floor: place (x, z) and turn about the vertical in radians."""

    model: Model
    x: float
    z: float
    turn: float


@dataclass(frozen=True, kw_only=True)
class Room:
    """Everything that a seed draws of a room; metres, y up, the back wall at z = -depth / 2.

    Attributes:
        width: of the back wall.
        depth: from the back wall to the front.
        floor: (S, S, 3) uint8 texture of one square metre.
        wall: (S, S, 3) uint8 texture of one square metre.
        furniture: what stands where.
        frames: (x, y, half width, half height) of the pictures on the back wall.
        cameras: two places that look at `target`, 8-20 degrees apart.
        target: a point in the room.
        lamp: (x, y, z) and power.
        kind: words for the room.
    """

    width: float
    depth: float
    floor: np.ndarray
    wall: np.ndarray
    furniture: tuple[Placed, ...]
    frames: tuple[tuple[float, float, float, float], ...]
    cameras: tuple[np.ndarray, np.ndarray]
    target: np.ndarray
    lamp: tuple[float, float, float, float]
    kind: str

    @property
    def words(self) -> str:
        """The caption: the kind of room and the three largest things in it."""
        largest = sorted(self.furniture, key=lambda placed: -float(placed.model.size.prod()))
        names = list(dict.fromkeys(placed.model.name for placed in largest))[:3]
        article = "an" if self.kind == "Office" else "a"
        return f"{article} {self.kind.lower()} with {' and '.join(names)}" if names else f"an empty {self.kind.lower()}"

    @property
    def credits(self) -> list[str]:
        """Author and licence of each model."""
        return sorted({placed.model.credit for placed in self.furniture})


@cache
def models(world: Path = WORLD) -> tuple[Model, ...]:
    """Return the furniture that stands on a floor, is neither tiny nor huge, and belongs into a kind of room."""
    found = [model for entry in entries(world) if (model := _model(entry)) is not None]
    return tuple(sorted(found, key=lambda model: str(model.path)))


def _model(entry: Entry) -> Model | None:
    """Return a catalogue's entry as a model, or None if no room takes it."""
    facts = entry.facts
    path = entry.folder / facts.get("model", "none").lstrip("/")
    if not path.is_file() or path.stat().st_size > HEAVIEST:
        return None
    if facts.get("category") not in KINDS or facts.get("doorOrWindow") == "true":
        return None
    size = np.array([float(facts[side]) / 100 for side in ("width", "height", "depth")])
    if float(facts.get("elevation", 0)) > 20 or not 0.35 < size[1] < 2.2 or not 0.35 < max(size[0], size[2]) < 2.3:
        return None
    return Model(
        path=path,
        name=entry.words,
        kind=facts["category"],
        size=size,
        credit=f"{facts['name']} by {facts.get('creator', 'unknown')}, {entry.licence}",
        held_out=held_out_by_hash(entry.key),
    )


def floor_texture(random: np.random.Generator, side: int = 128) -> np.ndarray:
    """Draw planks, tiles or a carpet."""
    y, x = np.mgrid[:side, :side] / side
    tone = np.array([[0.55, 0.36, 0.2], [0.35, 0.2, 0.12], [0.6, 0.58, 0.54], [0.3, 0.33, 0.4]])[random.integers(4)]
    kind = random.integers(3)
    if kind == 0:
        plank = (y * 6).astype(int)
        grain = 0.12 * np.sin((x * 9 + plank * 2.7) * 3 + np.sin(y * 90) * 0.8) + random.normal(size=6)[plank] * 0.08
        shade = 1 + grain - 0.4 * ((y * 6) % 1 < 0.06)
    elif kind == 1:
        shade = (
            1 + 0.25 * (((x * 2).astype(int) + (y * 2).astype(int)) % 2) - 0.4 * (np.minimum(x % 0.5, y % 0.5) < 0.02)
        )
    else:
        shade = 1 + 0.2 * np.sin(2 * np.pi * 4 * x) * np.sin(2 * np.pi * 4 * y) + 0.15 * random.normal(size=x.shape)
    return _coloured(tone * random.uniform(0.8, 1.2, 3), shade)


def wall_texture(random: np.random.Generator, side: int = 128) -> np.ndarray:
    """Draw plain, striped, panelled or brick walls."""
    y, x = np.mgrid[:side, :side] / side
    tone = np.clip(np.array([0.72, 0.7, 0.66]) + random.normal(size=3) * 0.13, 0.2, 0.92)
    kind = random.integers(5)
    shade = 1 + 0.02 * random.normal(size=x.shape)
    if kind == 0:
        shade -= 0.15 * (np.sin(2 * np.pi * 5 * x) > 0)
    elif kind == 1:
        row = (y * 12).astype(int)
        joint = ((y * 12) % 1 < 0.12) | ((x * 4 + 0.5 * (row % 2)) % 1 < 0.05)
        tone, shade = np.array([0.55, 0.27, 0.2]), shade + 0.4 * joint + 0.1 * random.random(12)[row]
    elif kind == 2:
        shade -= 0.2 * (y % 0.5 < 0.02)
    return _coloured(tone, shade)


def _coloured(tone: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """Return a shade in a tone as 8-bit RGB."""
    return np.clip(255 * shade[..., None] * tone, 5, 245).astype(np.uint8)


def draw_room(seed: int, split: str) -> Room:
    """Draw a room with furniture of the split."""
    random = np.random.default_rng([47, seed])
    width, depth = random.uniform(3.2, 4.8), random.uniform(3.2, 4.6)
    kind = KINDS[random.choice(len(KINDS), p=[0.35, 0.2, 0.2, 0.15, 0.1])]
    pool = [model for model in models() if model.kind == kind and model.held_out == (split == "test")]
    target = np.array([random.uniform(-0.35, 0.35), 0.65, -0.2 * depth])
    angle, apart = random.uniform(2, 30), random.choice([-1, 1]) * random.uniform(8, 20)
    away, eye = random.uniform(2.6, 3.4), random.uniform(0.6, 1.2)
    cameras = [
        target + np.array([np.sin(turn) * away, eye, np.cos(turn) * away])
        for turn in np.radians([angle, angle + apart])
    ]
    placed = place(pool, width, depth, int(random.integers(4, 7)), random)
    frames = tuple(
        (random.uniform(-0.4, 0.4) * width, random.uniform(1.4, 1.8), *random.uniform(0.22, 0.42, 2))
        for _ in range(random.integers(0, 3))
    )
    return Room(
        width=width, depth=depth, floor=floor_texture(random), wall=wall_texture(random),
        furniture=tuple(placed), frames=frames, cameras=(cameras[0], cameras[1]), target=target,
        lamp=(random.uniform(-0.5, 1.5), 2.4, random.uniform(0.2, 1.6), random.uniform(6, 13)), kind=kind,
    )  # fmt: skip


def place(pool: list[Model], width: float, depth: float, count: int, random: np.random.Generator) -> list[Placed]:
    """Stand furniture at the back wall, at the left wall or free, without overlaps; 40 tries."""
    placed: list[Placed] = []
    boxes: list[np.ndarray] = []
    for _ in range(40 if pool else 0):
        model = pool[random.integers(len(pool))]
        wide, _, deep = model.size
        where, share = random.random(), random.random()
        if where < 0.55:
            turn, x, z = 0.0, (share - 0.5) * max(0.0, width - wide), (deep - depth) / 2 + 0.03
        elif where < 0.75:
            turn, x, z = np.pi / 2, (deep - width) / 2 + 0.03, (share * 0.6 - 0.5) * depth + wide / 2
        else:
            turn, x, z = (
                random.uniform(-0.6, 0.6),
                random.uniform(-0.25, 0.3) * width,
                random.uniform(-0.2, 0.05) * depth,
            )
        across = abs(np.array([[np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])) @ [wide, deep]
        box = np.array([x, z, *across])
        if len(placed) < count and not any((np.abs(box - other)[:2] < (box + other)[2:] / 2).all() for other in boxes):
            placed.append(Placed(model=model, x=float(x), z=float(z), turn=float(turn)))
            boxes.append(box)
    return placed


def furnish(room: Room, pictures: list[np.ndarray]) -> dict[str, object]:
    """Return the room as a Mitsuba scene, one picture in each frame."""
    from recipes.world import render_scene as draw

    turned, half = draw.Transform(), HEIGHT / 2
    scene: dict[str, object] = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 5},
        "sky": {"type": "constant", "radiance": {"type": "rgb", "value": [0.5, 0.52, 0.56]}},
        "lamp": draw.lamp(
            np.array(room.lamp[:3]), np.array([0, 0.5, -0.6]), 0.4, room.lamp[3] * np.array([1, 0.9, 0.8])
        ),
        "floor": plane(turned.rotate([1, 0, 0], -90).scale([room.width, room.depth, 1]), room.floor, 4),
        "back": plane(turned.translate([0, half, -room.depth / 2]).scale([room.width, half, 1]), room.wall, 3),
        "side": plane(
            turned.translate([-room.width / 2, half, 0]).rotate([0, 1, 0], 90).scale([room.depth, half, 1]),
            room.wall,
            3,
        ),
    }
    for index, ((x, y, wide, high), pixels) in enumerate(zip(room.frames, pictures, strict=True)):
        spot = turned.translate([x, y, 0.02 - room.depth / 2]).scale([wide, high, 1])
        scene[f"frame{index}"] = plane(spot, pixels, 1)
    for index, placed in enumerate(room.furniture):
        for part, shape in enumerate(shapes(placed)):
            scene[f"model{index}_{part}"] = shape
    return scene


def plane(spot: object, pixels: np.ndarray, times: float) -> dict[str, object]:
    """Return a rectangle with a picture, repeated so many times along each side."""
    from recipes.world import render_scene as draw

    paint = draw.picture(pixels)
    paint["to_uv"] = draw.Transform().scale([times, -times, 1])
    return {"type": "rectangle", "to_world": spot, "bsdf": draw.glossy(paint, roughness=0.6, specular=0.2)}


def shapes(placed: Placed) -> list[object]:
    """Return a placed model's meshes, scaled to the catalogue's size; none if its file holds none."""
    import trimesh

    from recipes.world import render_scene as draw

    scene = trimesh.load(placed.model.path, force="scene", process=False)
    solids = [solid for solid in scene.geometry.values() if len(getattr(solid, "faces", ()))]
    if not solids:
        return []
    points = np.concatenate([np.asarray(solid.vertices) for solid in solids])
    low, high = points.min(0), points.max(0)
    scale = float(np.median(placed.model.size / np.maximum(high - low, 1e-6)))
    foot = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    cos, sin = np.cos(placed.turn), np.sin(placed.turn)
    turn, at = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]), np.array([placed.x, 0, placed.z])
    return [
        draw.mesh(
            (np.asarray(solid.vertices) - foot) * scale @ turn.T + at,
            np.asarray(solid.faces),
            material(solid),
            outward=np.asarray(solid.vertex_normals) @ turn.T,
            uv=coordinates(solid),
        )
        for solid in solids
    ]


def coordinates(solid: object) -> np.ndarray | None:
    """Return a solid's texture coordinates where it has a texture."""
    uv = getattr(solid.visual, "uv", None)
    textured = getattr(getattr(solid.visual, "material", None), "image", None) is not None
    return np.asarray(uv) if textured and uv is not None else None


def material(solid: object) -> dict[str, object]:
    """Return a solid's colour or texture as a half-glossy material."""
    from recipes.world import render_scene as draw

    look = getattr(solid.visual, "material", None)
    if coordinates(solid) is not None:
        image = look.image.convert("RGB")
        image.thumbnail((512, 512))
        return draw.glossy(draw.picture(np.asarray(image)), roughness=0.5, specular=0.35)
    plain = np.array(look.main_color[:3]) / 255 if look is not None else np.full(3, 0.6)
    return draw.glossy(draw.colour(plain**2.2), roughness=0.45, specular=0.4)
