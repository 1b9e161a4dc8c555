"""Parametric people: one identity at any age, as woman or man, as coloured surfaces and hair.

A person is drawn from a seed: features, skin, hair, clothes. A state says what an editing task changes (age, gender).
Everything else, pose and smile too, is the same in every state of a person. Coordinates: the middle between the eyes
is the origin, x to the viewer's right, y up, z to the viewer; the head is about 2.3 high. Colours are linear RGB.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from scipy.spatial import cKDTree

from recipes.world.render_hair import beard_area, brow_area, grow, scalp_area, short_hairs
from recipes.world.render_mesh import Strands, Surface, base, morph, normals, sliders, subdivide, triangles
from recipes.world.render_paint import Grain, grain, ramp, skin_colours, wrinkles

EYES = np.array([0, 7.284, 1.245])
"""Middle between the base mesh's eyes."""
NECK = np.array([0, -1.2, -0.75])
"""Where the head turns."""
STEADY = ("head-age", "head-trans", "head-angle", "neck-trans", "mouth-trans-in", "nose-trans-in", "neck-double", "jaw")
"""Sliders that are no part of an identity."""
SKIN = np.array(
    [[0.75, 0.53, 0.44], [0.68, 0.45, 0.34], [0.55, 0.34, 0.235], [0.38, 0.215, 0.14], [0.215, 0.115, 0.075],
     [0.11, 0.06, 0.042]]
)  # fmt: skip
"""From the fairest to the darkest."""
HAIR = np.array(
    [[0.012, 0.01, 0.009], [0.035, 0.02, 0.013], [0.09, 0.045, 0.022], [0.2, 0.115, 0.055], [0.42, 0.28, 0.13],
     [0.25, 0.075, 0.025]]
)  # fmt: skip
"""Black, dark, brown, light, blond, red."""
IRIS = np.array([[0.05, 0.025, 0.012], [0.09, 0.04, 0.015], [0.16, 0.12, 0.05], [0.12, 0.22, 0.33], [0.1, 0.2, 0.13]])
GREY = np.array([0.45, 0.44, 0.43])


@dataclass(frozen=True, kw_only=True)
class State:
    """What the editing tasks change: age in [0, 1] (`render_mesh.AGES`), gender 0 (woman) to 1 (man)."""

    age: float
    gender: float

    @property
    def words(self) -> str:
        """What a caption calls such a person."""
        woman = self.gender < 0.5
        if self.age < 0.35:
            return "a girl" if woman else "a boy"
        years = "an old" if self.age > 0.8 else "a young" if self.age < 0.6 else "a middle-aged"
        return f"{years} {'woman' if woman else 'man'}"


@dataclass(frozen=True, kw_only=True)
class Person:
    """Everything about a person that neither age nor gender changes; all of it drawn from the seed."""

    seed: int
    local: dict[str, float]
    race: np.ndarray
    darkness: float
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    weight: float
    curl: float
    parting: float
    brows: float
    beard: float
    stubble: float
    baldness: float
    lengths: tuple[float, float]
    shirt: np.ndarray
    stripes: np.ndarray
    pattern: int
    turn: tuple[float, float]
    smile: float


WOMENS = {1.1: "chin-length", 1.6: "shoulder-length", 2.4: "long"}
MENS = {0.12: "cropped", 0.3: "short", 0.5: "half-long"}
"""Lengths of hair that a woman or a man may have, and what a caption calls them."""


def features(random: np.random.Generator, strength: float = 0.24) -> dict[str, float]:
    """Draw the strength of each local target, equal on both sides of the face."""
    found: dict[str, float] = {}
    for name, plus, minus in sliders():
        if any(word in name for word in STEADY):
            continue
        spread = strength * (0.5 if name.startswith(("neck", "eyes")) else 1)
        value = float(np.clip(random.normal() * spread, -1, 1))
        for target in plus if value > 0 else minus:
            found[target] = found.get(target, 0) + abs(value)
    return found


def draw_person(seed: int) -> Person:
    """Draw an identity."""
    random = np.random.default_rng([17, seed])
    race = 0.75 * np.eye(3)[random.choice([0, 0, 1, 2, 2, 2])] + 0.25 * random.dirichlet([0.6, 0.6, 0.6])
    darkness = float(np.clip(race @ [0.85, 0.35, 0.2] + random.normal() * 0.1, 0.02, 1))
    light = race[2] > 0.6
    skin = np.array([np.interp(darkness, np.linspace(0, 1, len(SKIN)), SKIN[:, c]) for c in range(3)])
    hair = HAIR[random.choice(6, p=[0.1, 0.25, 0.3, 0.15, 0.12, 0.08] if light else [0.8, 0.17, 0.03, 0, 0, 0])]
    return Person(
        seed=seed, local=features(random), race=race, darkness=darkness, skin=skin, hair=hair,
        iris=IRIS[random.integers(5 if light else 2)],
        weight=float(np.clip(0.5 + random.normal() * 0.18, 0.1, 0.95)),
        curl=float(np.clip(random.normal() * 0.25 + (0.85 if race[0] > 0.6 else 0.12), 0, 1)),
        parting=float(random.choice([-1, 0, 1]) * random.uniform(0.15, 0.35)),
        brows=float(random.uniform(0.8, 1.25)), beard=float(random.random() < 0.35),
        stubble=float(random.uniform(0.2, 0.9)), baldness=float(np.clip(random.normal() * 0.3 + 0.5, 0, 1)),
        lengths=(float(random.choice(list(WOMENS))), float(random.choice(list(MENS)))),
        shirt=random.uniform(0.03, 0.6, 3), stripes=random.uniform(0.03, 0.7, 3), pattern=int(random.integers(3)),
        turn=(float(random.uniform(-0.3, 0.3)), float(random.uniform(-0.1, 0.1))), smile=float(random.uniform(0, 0.8)),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of the base mesh, subdivided.

    Attributes:
        used: indices of its points in the base mesh.
        matrix: from those points to the subdivided ones.
        triangles: of the subdivided piece.
        rest: its points in the base mesh's own shape, from between the eyes; paint lies in these coordinates.
    """

    used: np.ndarray
    matrix: np.ndarray
    triangles: np.ndarray
    rest: np.ndarray

    def shaped(self, points: np.ndarray) -> np.ndarray:
        """Return the subdivided points of a morphed base mesh."""
        return self.matrix @ points[self.used]


@cache
def parts() -> dict[str, Part]:
    """Return the pieces a portrait needs: skin, both eyes, shirt."""
    mesh = base()
    middles = mesh.points[mesh.faces].mean(1) - EYES
    near = np.abs(middles[:, 0])
    chosen = {
        "skin": ((mesh.groups == "body") & (middles[:, 1] > -2.9) & (near < 2.3), 1),
        "left": (mesh.groups == "helper-l-eye", 3),
        "right": (mesh.groups == "helper-r-eye", 3),
        "shirt": ((mesh.groups == "helper-tights") & (middles[:, 1] > -3.2) & (near < 2.6), 2),
    }
    return {name: cut(mesh.faces[faces], levels) for name, (faces, levels) in chosen.items()}


def cut(faces: np.ndarray, levels: int) -> Part:
    """Return a piece of the base mesh under some levels of Catmull-Clark."""
    used, inverse = np.unique(faces, return_inverse=True)
    quads, matrix = inverse.reshape(-1, 4), None
    for _ in range(levels):
        step, quads = subdivide(quads, len(used) if matrix is None else matrix.shape[0])
        matrix = step if matrix is None else step @ matrix
    return Part(used=used, matrix=matrix, triangles=triangles(quads), rest=matrix @ (base().points[used] - EYES))


@dataclass(frozen=True, kw_only=True)
class Traits:
    """How far a state has each of these, in [0, 1]."""

    old: float
    young: float
    manly: float
    grey: float
    receding: float


def traits(person: Person, state: State) -> Traits:
    """Return what age and gender do to skin and hair."""
    young = float(ramp(0.42, 0.2, state.age))
    manly = float(ramp(0.4, 0.9, state.gender)) * (1 - young)
    return Traits(
        old=float(ramp(0.55, 1.0, state.age)), young=young, manly=manly,
        grey=float(np.clip((state.age - 0.62) / 0.3 + 0.25 * (person.baldness - 0.5), 0, 1)),
        receding=float(manly * np.clip((state.age - 0.5) * 2.4 * person.baldness, 0, 0.95)),
    )  # fmt: skip


class Poser:
    """Puts a morphed mesh in place: between the eyes, scaled to one height, the head turned."""

    def __init__(self, person: Person, points: np.ndarray, young: float) -> None:
        """Measure the morphed mesh."""
        mesh, skin = base(), parts()["skin"]
        self.centres = {side: points[mesh.vertices(f"helper-{side[0]}-eye")].mean(0) for side in ("left", "right")}
        self.middle = (self.centres["left"] + self.centres["right"]) / 2
        rest, shaped = skin.rest, skin.shaped(points) - self.middle
        chin = (np.abs(rest[:, 0]) < 0.1) & (np.abs(rest[:, 1] + 1.05) < 0.12) & (rest[:, 2] > 0)
        height = points[mesh.vertices("body"), 1].max() - self.middle[1] - shaped[chin, 1].min()
        self.scale = 2.32 / height * (1 - 0.06 * young)
        yaw, pitch = person.turn
        around = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
        self.turned = around @ nod

    def centred(self, points: np.ndarray) -> np.ndarray:
        """Return points from between the eyes, at the common scale."""
        return (points - self.middle) * self.scale

    def posed(self, points: np.ndarray, rest: np.ndarray | None = None) -> np.ndarray:
        """Turn the head; the neck follows half-way by its place at rest, None is all head."""
        share = 1.0 if rest is None else ramp(-1.75, -1.0, rest[:, 1])[:, None]
        return points * (1 - share) + ((points - NECK) @ self.turned.T + NECK) * share


def build(person: Person, state: State) -> tuple[dict[str, Surface], dict[str, Strands]]:
    """Return a person in a state: surfaces and hair, by name."""
    facts = traits(person, state)
    local = dict(person.local)
    for name, strength in (
        ("mouth/mouth-angles-up", 0.45 * person.smile),
        ("mouth/mouth-dimples-in", 0.2 * person.smile),
        ("head/head-age-incr", 0.6 * facts.old),
    ):
        local[name] = local.get(name, 0) + strength
    points = morph(state.age, state.gender, person.race, person.weight, local)
    poser = Poser(person, points, facts.young)
    skin = build_skin(person, state, facts, points, poser)
    surfaces = {"skin": skin, "shirt": build_shirt(person, points, poser)}
    surfaces |= {side: build_eye(person, facts, points, poser, side) for side in ("left", "right")}
    return surfaces, build_hair(person, state, facts, skin)


def hair_length(person: Person, state: State, facts: Traits) -> float:
    """Return how long the hair is."""
    man = state.gender > 0.5
    return max(person.lengths[man], 0.3 * man * (facts.young > 0.5))


def bearded(person: Person, state: State, facts: Traits) -> bool:
    """Return whether a beard grows, if the person ever has one."""
    return bool(person.beard and facts.manly > 0.5 and state.age > 0.4)


def hair_words(person: Person, state: State) -> str:
    """Return what the other gender's portrait cannot tell: "with long hair", "with cropped hair and a beard"."""
    facts = traits(person, state)
    beard = " and a beard" if bearded(person, state, facts) else ""
    return f"with {(WOMENS | MENS)[hair_length(person, state, facts)]} hair{beard}"


def hair_colour(person: Person, facts: Traits) -> np.ndarray:
    """Return the hair's colour, greyed by age."""
    return person.hair * (1 - facts.grey) + GREY * facts.grey


@lru_cache(maxsize=2)
def skin_grain(seed: int) -> Grain:
    """Return a person's skin noise; all states share it."""
    return grain(parts()["skin"].rest, seed)


def build_skin(person: Person, state: State, facts: Traits, points: np.ndarray, poser: Poser) -> Surface:
    """Return head, neck and shoulders with painted skin and wrinkles."""
    part = parts()["skin"]
    shaped = part.shaped(points) - poser.middle
    fine = skin_grain(person.seed)
    depth = wrinkles(part.rest, fine, person.seed, facts.old)
    out = (shaped + normals(shaped, part.triangles) * depth[:, None]) * poser.scale
    colours = skin_colours(part.rest, fine, person.skin, facts.old, facts.young, facts.manly)
    colours *= 1 - 16 * np.clip(-depth, 0, 0.014)[:, None] * np.array([0.7, 1, 1])
    hair = hair_colour(person, facts)
    cover = 0.8 * scalp_area(part.rest, facts.receding, person.seed)[:, None]
    colours = colours * (1 - cover) + 0.6 * hair * cover
    shade = 0.38 * beard_area(part.rest) * facts.manly * person.stubble * ramp(0.3, 0.5, state.age)
    colours = colours * (1 - shade[:, None]) + (0.5 * hair + 0.03) * shade[:, None]
    return Surface(
        points=poser.posed(out, part.rest), triangles=part.triangles, colours=colours.clip(0.004, 0.95), material="skin"
    )


def build_eye(person: Person, facts: Traits, points: np.ndarray, poser: Poser, side: str) -> Surface:
    """Return one eyeball: white, iris, its dark rim, pupil, by the angle from the gaze."""
    part = parts()[side]
    centre = poser.centred(poser.centres[side])
    spokes = poser.centred(part.shaped(points)) - centre
    radius = np.percentile(np.linalg.norm(spokes, axis=1), 60)
    spokes /= np.maximum(np.linalg.norm(spokes, axis=1, keepdims=True), 1e-9)
    angle = np.arccos(np.clip(spokes @ np.array([0, -0.03, 1.0]), -1, 1))[:, None]
    white = np.array([0.72, 0.68, 0.66]) * (1 - 0.35 * facts.old * np.array([0.2, 0.35, 0.5]))
    inside, pupil, rim = ramp(0.56, 0.5, angle), ramp(0.21, 0.17, angle), 0.7 * np.exp(-(((angle - 0.53) / 0.05) ** 2))
    colours = white * (1 - inside) + person.iris * inside
    colours = (colours * (1 - pupil) + 0.004 * pupil) * (1 - rim) + 0.02 * rim
    return Surface(
        points=poser.posed(centre + spokes * radius), triangles=part.triangles, colours=colours, material="eye"
    )


def build_shirt(person: Person, points: np.ndarray, poser: Poser) -> Surface:
    """Return a shirt a little off the skin: plain, striped or checked, with a round neck."""
    part = parts()["shirt"]
    rest, shaped = part.rest, part.shaped(points) - poser.middle
    out = (shaped + 0.04 * normals(shaped, part.triangles)) * poser.scale
    collar = np.hypot(rest[:, 0], rest[:, 2] + 0.75) < 0.56
    bare = (collar & (rest[:, 1] > -1.9)) | (rest[:, 1] > -1.38)
    lines = (np.sin(rest[:, 1] * 26) > 0.2) if person.pattern else np.zeros(len(rest), bool)
    if person.pattern == 2:
        lines ^= np.sin(rest[:, 0] * 26) > 0.2
    return Surface(
        points=poser.posed(out, rest),
        triangles=part.triangles[~bare[part.triangles].any(1)],
        colours=np.where(lines[:, None], person.stripes, person.shirt),
        material="cloth",
    )


def build_hair(person: Person, state: State, facts: Traits, skin: Surface) -> dict[str, Strands]:
    """Return hair, brows and maybe a beard, rooted on the skin."""
    random = np.random.default_rng([23, person.seed])
    rest, colour = parts()["skin"].rest, hair_colour(person, facts)
    length = hair_length(person, state, facts)
    outward = normals(skin.points, skin.triangles)
    some = np.random.default_rng(0).permutation(len(skin.points))[:8_000]
    head = (cKDTree(skin.points[some]), skin.points[some], outward[some])
    scalp = scalp_area(rest, facts.receding, person.seed)
    strands = grow(skin, outward, scalp, head, length=length, curl=person.curl, parting=person.parting, random=random)
    thick = person.brows * (0.75 + 0.35 * facts.manly)
    brows = short_hairs(
        skin, outward, rest, brow_area(rest, thick), count=420, length=0.085, comb="brow", random=random
    )
    found = {
        "hair": Strands(points=strands, radius=0.0112 if length > 0.25 else 0.0085, colour=colour),
        "brows": Strands(points=brows, radius=0.0032, colour=colour * 0.9),
    }
    if bearded(person, state, facts):
        area, size = beard_area(rest), 0.06 + 0.16 * person.stubble
        beard = short_hairs(skin, outward, rest, area, count=2200, length=size, comb="beard", random=random)
        found["beard"] = Strands(points=beard, radius=0.007, colour=colour)
    return found
