"""Several adapters at once: read, agreed upon or refused, and nothing but the weighed sum of their changes."""

import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import anyrefill
from anyrefill import UserError
from anyrefill.backbone.adapters.find import at_once, find_adapters
from anyrefill.backbone.adapters.lora import merge
from anyrefill.backbone.adapters.mix import Part, add_adapters, agreed, join_prompts, parts
from anyrefill.backbone.adapters.prompt import inject_prompt, save_prompt
from anyrefill.backbone.fill import FluxFill
from random_adapter import predict, save_random_adapter
from tiny_checkpoint import save_tiny_adapter


@pytest.fixture(scope="module")
def two(loaded: FluxFill, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("adapters")
    for seed, name in enumerate(("age", "gender"), start=1):
        backbone = deepcopy(loaded)
        path = folder / f"{name}.safetensors"
        save_random_adapter(backbone, path, seed=seed, rank=2 + seed, task=name, prompt=f"another {name} {{caption}}")
    return [folder / "age.safetensors", folder / "gender.safetensors"]


def weights(backbone: FluxFill) -> dict[str, Tensor]:
    state = backbone.transformer.state_dict()
    return {key.replace(".base_layer", ""): weight.clone() for key, weight in state.items() if ".lora_" not in key}


def mixed(loaded: FluxFill, paths: list[Path], strengths: list[float]) -> FluxFill:
    backbone = deepcopy(loaded)
    add_adapters(backbone, list(zip(paths, strengths, strict=True)))
    merge(backbone)
    return backbone


def test_a_mix_is_the_weighed_sum_of_its_parts(loaded: FluxFill, two: list[Path]) -> None:
    plain = weights(loaded)
    first, second = (weights(mixed(loaded, [path], [1.0])) for path in two)
    both = weights(mixed(loaded, two, [0.8, 0.5]))
    changed = 0
    for key, weight in plain.items():
        expected = weight + 0.8 * (first[key] - weight) + 0.5 * (second[key] - weight)
        torch.testing.assert_close(both[key], expected, atol=1e-5, rtol=0)
        changed += not torch.equal(first[key], weight)
    assert changed == 2 * 12 + 2 * 3, "12 layers of a double block and 3 of a single one"


def test_weight_zero_is_left_out_bit_for_bit(loaded: FluxFill, two: list[Path]) -> None:
    alone, silent = mixed(loaded, [two[0]], [0.7]), mixed(loaded, two, [0.7, 0.0])
    assert all(torch.equal(weight, weights(alone)[key]) for key, weight in weights(silent).items())
    plain, nothing = weights(loaded), weights(mixed(loaded, two, [0.0, 0.0]))
    assert all(torch.equal(weight, plain[key]) for key, weight in nothing.items())


def test_ejecting_a_mix_restores_every_bit(backbone: FluxFill, two: list[Path]) -> None:
    before = weights(backbone)
    add_adapters(backbone, [(two[0], 0.8), (two[1], -0.5)])
    unmerged = predict(backbone)
    merged = merge(backbone)
    torch.testing.assert_close(predict(backbone), unmerged, atol=1e-4, rtol=0)
    merged.eject()
    assert all(torch.equal(weight, before[key]) for key, weight in weights(backbone).items())
    assert torch.equal(predict(backbone), unmerged)


def test_a_prompt_acts_beside_a_lora(backbone: FluxFill, two: list[Path], tmp_path: Path) -> None:
    prompt = inject_prompt(backbone, "old and bold", tokens=4)
    passport = agreed(two[:1])
    assert passport is not None
    save_prompt(tmp_path / "p", prompt, replace(passport, kind="prompt", rank=4, task="prompt"))
    add_adapters(backbone, [(two[0], 1.0)])
    expected = predict(backbone)
    prompt.eject()
    backbone.transformer.unload_lora()
    add_adapters(backbone, [(two[0], 1.0), (tmp_path / "p", 1.0)])
    assert torch.equal(predict(backbone), expected)
    with pytest.raises(UserError, match="is a prompt, which acts or does not: give it no weight"):
        add_adapters(backbone, [(tmp_path / "p", 0.5)])
    with pytest.raises(UserError, match="cannot act together: only one may be a prompt"):
        agreed([tmp_path / "p", tmp_path / "p"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age", [("age", None)]),
        ("age+gender", [("age", None), ("gender", None)]),
        ("age:0.8+gender", [("age", 0.8), ("gender", None)]),
        ("age:-1 + my_task.py:2", [("age", -1.0), ("my_task.py", 2.0)]),
        ("age:0+gender", [("gender", None)]),
        ("age:0", [("age", 0.0)]),
        ("C:/tasks/age.py", [("C:/tasks/age.py", None)]),
        ("2024", [("2024", None)]),
    ],
)
def test_parts_are_names_with_weights(text: str, expected: list[tuple[str, float | None]]) -> None:
    assert parts(text) == tuple(Part(name=name, weight=weight) for name, weight in expected)


def test_unsaid_weights_are_equal_shares_and_a_prompt_has_none(
    backbone: FluxFill, two: list[Path], tmp_path: Path
) -> None:
    mix = "+".join(map(str, two))

    def asked(text: str) -> list[float]:
        return [weight for _, weight in at_once(find_adapters((), text, embedded=False))]

    assert asked(str(two[0])) == [1.0]
    assert asked(mix) == pytest.approx([0.65] * 2)
    assert asked(f"{two[0]}:1+{two[1]}") == pytest.approx([1.0, 0.65])
    copies = [shutil.copy(two[0], tmp_path / name) for name in "abcd"]
    assert asked("+".join(map(str, copies))) == pytest.approx([0.65**2] * 4)
    passport = agreed(two[:1])
    assert passport is not None
    prompt = inject_prompt(backbone, "old and bold", tokens=4)
    save_prompt(tmp_path / "p", prompt, replace(passport, kind="prompt", rank=4, task="prompt"))
    assert asked(f"{two[0]}+{tmp_path / 'p'}") == [1.0, 1.0]


def test_a_path_that_is_there_is_one_part(tmp_path: Path) -> None:
    path = tmp_path / "a+b:2"
    path.touch()
    assert parts(path) == parts(str(path)) == (Part(name=str(path)),)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("age+", r"'age\+' has an empty name"),
        ("age:1+age:2", "names age twice: give it one weight"),
        ("age:nan", "'age:nan' has a weight that is no finite number"),
    ],
)
def test_a_mix_that_means_nothing_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        parts(text)


def test_prompts_are_joined_and_the_caption_is_said_once() -> None:
    assert join_prompts(["older {caption}"]) == "older {caption}"
    assert join_prompts(["older {caption}", "a woman {caption}"]) == "older, a woman {caption}"
    assert join_prompts(["{caption}, older", "in colour"]) == "{caption}, older, in colour"
    assert join_prompts(["{caption}", "{caption}"]) == "{caption}"
    assert join_prompts(["{caption}", "old {caption}"]) == "old {caption}"


def test_adapters_agree_on_one_passport(two: list[Path]) -> None:
    assert agreed([]) is None
    both, first = agreed(two), agreed(two[:1])
    assert first is not None
    assert both == replace(first, task="age+gender", prompt="another age, another gender {caption}")


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (
            {"fingerprint": "f" * 64},
            r"age\S+ and \S+other cannot act together: their base differs, \w{16} and f{16}\.$",
        ),
        ({"mask_rule": "soft"}, "their mask rule differs, binary and soft"),
        ({"attention": "clean_ref"}, "their attention differs, full and clean_ref"),
        ({"height": 64}, "their canvas height differs, 512 and 64"),
    ],
)
def test_adapters_that_no_one_canvas_suits_are_refused(
    two: list[Path], tmp_path: Path, entry: dict[str, object], complaint: str
) -> None:
    passport = agreed(two[1:])
    assert passport is not None
    save_file(load_file(two[1]), tmp_path / "other", metadata={"anyrefill": replace(passport, **entry).to_json()})
    with pytest.raises(UserError, match=complaint):
        agreed([two[0], tmp_path / "other"])


def test_a_painter_paints_with_several(as_micro: Path, tmp_path: Path) -> None:
    shipped = as_micro / "adapters" / "colorization.safetensors"
    own = save_tiny_adapter(as_micro, tmp_path / "own.safetensors", "deblur", seed=7)
    painter = anyrefill.load("deblur+colorization", adapter=f"{own}:0.5+colorization")
    assert (painter.task.name, painter.notes) == ("deblur+colorization", ())
    words = [anyrefill.tasks.get(name).prompt for name in ("deblur", "colorization")]
    assert painter.task.prompt == join_prompts(words)
    assert isinstance(painter.backbone, FluxFill)
    expected = mixed(FluxFill.load(as_micro), [own, shipped], [0.5, 0.65])
    torch.testing.assert_close(predict(painter.backbone), predict(expected), atol=1e-5, rtol=1e-5)


def test_a_weight_is_that_of_the_shipped_adapter(as_micro: Path) -> None:
    shipped, plain = as_micro / "adapters" / "colorization.safetensors", FluxFill.load(as_micro)
    for text, expected in (
        ("colorization:0.5", mixed(plain, [shipped], [0.5])),
        ("image-to-segment:0+colorization", mixed(plain, [shipped], [1.0])),
        ("colorization:0", plain),
    ):
        painter = anyrefill.load(text)
        assert painter.task.name == "colorization"
        assert isinstance(painter.backbone, FluxFill)
        torch.testing.assert_close(predict(painter.backbone), predict(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("task", "adapter", "complaint"),
    [
        ("ref-inpainting+colorization", "none", "ref-inpainting and colorization cannot be painted at once: they"),
        ("colorization:0.5", "none", r"weigh others as in --adapter A:0.8\+B"),
        ("colorization+nothing", None, "There is no task 'nothing'; there are"),
        ("deblur+colorization", None, "has no adapter for deblur, only for colorization"),
        ("colorization", "colorization+nothing", "There is no adapter nothing: give a file"),
    ],
)
def test_what_cannot_be_painted_together_is_refused(
    as_micro: Path, task: str, adapter: str | None, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        anyrefill.load(task, adapter=adapter)
