"""One LoRA in three layouts does one thing: here, in diffusers' own loader, and in the matrices others keep."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from diffusers import FluxFillPipeline
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor

from anyrefill import UserError, cli
from anyrefill.backbone.adapters.convert import parse, render
from anyrefill.backbone.adapters.factors import Factors, fuse, split
from anyrefill.backbone.adapters.files import convert_adapter, load_adapter, read_passport
from anyrefill.backbone.adapters.find import find_adapter
from anyrefill.backbone.adapters.layouts import Layout, layers_of, module_key, module_of
from anyrefill.backbone.adapters.lora import TARGETS, linear_layers
from anyrefill.backbone.fill import FluxFill
from random_adapter import predict, save_random_adapter
from tiny_checkpoint import save_tiny_checkpoint

FOREIGN: tuple[Layout, ...] = ("kohya", "bfl")
DOUBLE = tuple(f"transformer_blocks.{block}.attn.to_{part}" for block in (0, 1) for part in ("q", "k", "v", "out.0"))
BLOCKS = (
    *DOUBLE,
    *TARGETS["paper"][4:],
    "norm1.linear",
    "norm1_context.linear",
    "norm.linear",
    "single_transformer_blocks.1.proj_out",
)
"""All that diffusers converts on any width: its single blocks are 3072 wide, and outside the blocks it drops keys."""


@pytest.fixture(scope="module")
def everywhere(loaded: FluxFill, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a LoRA on every layer."""
    path = tmp_path_factory.mktemp("adapters") / "all.safetensors"
    save_random_adapter(deepcopy(loaded), path, targets=TARGETS["all"])
    return path


def random(*shape: int, seed: int = 0) -> Tensor:
    return 0.3 * torch.randn(*shape, generator=Generator().manual_seed(seed))


def deltas(path: Path, module: str, *, down: str = "lora_down", up: str = "lora_up") -> Tensor:
    """Return what one module of a file adds to its matrix."""
    tensors = load_file(path)
    factors = tensors[f"{module}.{up}.weight"], tensors[f"{module}.{down}.weight"]
    alpha = tensors.get(f"{module}.alpha", torch.tensor(6.0))
    return alpha / len(factors[1]) * factors[0] @ factors[1]


def test_every_layer_has_a_name_in_every_layout(loaded: FluxFill) -> None:
    for layer, _ in linear_layers(loaded.transformer):
        assert layers_of(module_key(layer, "diffusers")) == (layer,)
        module = module_of(layer)
        assert module is not None
        for layout in FOREIGN:
            assert layer in layers_of(module_key(module, layout))
        assert layers_of(module_key(module, "bfl")) == layers_of(module)


@pytest.mark.parametrize("layout", FOREIGN)
def test_there_and_back_is_the_same(everywhere: Path, tmp_path: Path, layout: Layout) -> None:
    passport = convert_adapter(everywhere, tmp_path / "there", layout)
    assert passport == read_passport(tmp_path / "there") == read_passport(everywhere)
    convert_adapter(tmp_path / "there", tmp_path / "back", "diffusers")
    before, after = load_file(everywhere), load_file(tmp_path / "back")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    headers = [safe_open(path, framework="pt").metadata() for path in (everywhere, tmp_path / "back")]
    assert headers[0] == headers[1]


def test_the_stacked_matrices_change_as_their_parts_do(everywhere: Path, tmp_path: Path) -> None:
    convert_adapter(everywhere, tmp_path / "bfl", "bfl")

    def ours(layer: str) -> Tensor:
        return deltas(everywhere, f"transformer.{layer}", down="lora_A", up="lora_B")

    def theirs(module: str) -> Tensor:
        return deltas(tmp_path / "bfl", f"diffusion_model.{module}")

    text = [ours(f"transformer_blocks.1.attn.add_{part}_proj") for part in "qkv"]
    torch.testing.assert_close(theirs("double_blocks.1.txt_attn.qkv"), torch.cat(text))
    attention = [ours(f"single_transformer_blocks.0.attn.to_{part}") for part in "qkv"]
    mlp = ours("single_transformer_blocks.0.proj_mlp")
    torch.testing.assert_close(theirs("single_blocks.0.linear1"), torch.cat([*attention, mlp]))
    scale, shift = ours("norm_out.linear").chunk(2)
    torch.testing.assert_close(theirs("final_layer.adaLN_modulation.1"), torch.cat([shift, scale]))
    torch.testing.assert_close(theirs("img_in"), ours("x_embedder"))


def test_rows_of_a_layer_without_a_lora_stay_zero(backbone: FluxFill, tmp_path: Path) -> None:
    save_random_adapter(backbone, tmp_path / "a")
    convert_adapter(tmp_path / "a", tmp_path / "kohya", "kohya")
    delta = deltas(tmp_path / "kohya", "lora_unet_single_blocks_1_linear1")
    assert delta.shape == (7 * 32, 32)
    assert delta[:96].any(dim=1).all()
    assert not delta[96:].any()


@pytest.mark.parametrize("layout", FOREIGN)
def test_diffusers_reads_what_we_convert(base: Path, backbone: FluxFill, tmp_path: Path, layout: Layout) -> None:
    plain = predict(backbone)
    save_random_adapter(backbone, tmp_path / "a.safetensors", targets=BLOCKS)
    convert_adapter(tmp_path / "a.safetensors", tmp_path / "b.safetensors", layout)
    load_adapter(tmp_path / "a.safetensors", backbone, name="ours")
    expected = predict(backbone)
    assert (expected - plain).abs().max() > 0.1, "the adapter must matter for this to prove anything"
    theirs = FluxFill.load(base)
    pipeline = FluxFillPipeline.from_pretrained(base, transformer=theirs.transformer)
    pipeline.load_lora_weights(str(tmp_path), weight_name="b.safetensors")
    torch.testing.assert_close(predict(theirs), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("layout", FOREIGN)
@pytest.mark.parametrize("layers", [("attn.to_q", "attn.to_k", "attn.to_v"), ("attn.to_q", "attn.to_v", "proj_mlp")])
def test_diffusers_reads_single_blocks_of_flux_width(layout: Layout, layers: tuple[str, ...]) -> None:
    heights = {"proj_mlp": 4 * 3072}
    lora = {
        f"single_transformer_blocks.37.{layer}": Factors(
            down=random(2, 3072, seed=i), up=random(heights.get(layer, 3072), 2, seed=9 + i), alpha=3.0
        )
        for i, layer in enumerate(layers)
    }
    theirs = _convert_kohya_flux_lora_to_diffusers(render(lora, layout))
    probe = random(3072, seed=42)
    for layer, factors in lora.items():
        down, up = (theirs[f"transformer.{layer}.lora_{factor}.weight"] for factor in "AB")
        expected = factors.scale * (factors.up @ (factors.down @ probe))
        torch.testing.assert_close(up @ (down @ probe), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layout", FOREIGN)
def test_we_read_what_we_convert_with_and_without_its_passport(
    backbone: FluxFill, everywhere: Path, tmp_path: Path, layout: Layout
) -> None:
    passport = load_adapter(everywhere, backbone, name="ours")
    expected = predict(backbone)
    backbone.transformer.unload_lora()
    convert_adapter(everywhere, tmp_path / "there", layout)
    other = FluxFill.load(save_tiny_checkpoint(tmp_path / "other", seed=1))
    with pytest.raises(UserError, match="was trained on another base"):
        load_adapter(tmp_path / "there", other)
    assert load_adapter(tmp_path / "there", backbone, name="converted") == passport
    torch.testing.assert_close(predict(backbone), expected, atol=1e-4, rtol=0)
    backbone.transformer.unload_lora()
    save_file(load_file(tmp_path / "there"), tmp_path / "stripped")
    assert load_adapter(tmp_path / "stripped", backbone, name="stripped", foreign=True) is None
    torch.testing.assert_close(predict(backbone), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("names", [("lora_down", "lora_up"), ("lora_A", "lora_B")])
@pytest.mark.parametrize("prefix", ["lora_unet_", "diffusion_model.", ""])
def test_a_lora_trained_on_stacked_matrices_acts_on_each_of_them(
    backbone: FluxFill, tmp_path: Path, prefix: str, names: tuple[str, str]
) -> None:
    attention, single = ("double_blocks.0.img_attn.qkv", "single_blocks.1.linear1")
    if prefix == "lora_unet_":
        attention, single = attention.replace(".", "_"), single.replace(".", "_")
    down, up = names
    tensors = {
        f"{prefix}{attention}.{down}.weight": random(3, 32, seed=1),
        f"{prefix}{attention}.{up}.weight": random(96, 3, seed=2),
        f"{prefix}{attention}.alpha": torch.tensor(1.5),
        f"{prefix}{single}.{down}.weight": random(2, 32, seed=3),
        f"{prefix}{single}.{up}.weight": random(224, 2, seed=4),
    }
    save_file(tensors, tmp_path / "foreign")
    by_hand = deepcopy(backbone)
    blocks = by_hand.transformer
    first = 0.5 * random(96, 3, seed=2) @ random(3, 32, seed=1)
    second = random(224, 2, seed=4) @ random(2, 32, seed=3)
    with torch.no_grad():
        double, last = blocks.transformer_blocks[0].attn, blocks.single_transformer_blocks[1]
        for layer, delta in zip((double.to_q, double.to_k, double.to_v), first.split(32), strict=True):
            layer.weight += delta
        layers = (last.attn.to_q, last.attn.to_k, last.attn.to_v, last.proj_mlp)
        for layer, delta in zip(layers, second.split([32, 32, 32, 128]), strict=True):
            layer.weight += delta
    assert load_adapter(tmp_path / "foreign", backbone, foreign=True) is None
    torch.testing.assert_close(predict(backbone), predict(by_hand), atol=1e-5, rtol=0)


def test_ranks_and_alphas_that_differ_from_layer_to_layer_are_kept(backbone: FluxFill, tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for index, (layer, rank, alpha) in enumerate((("to_q", 2, 1.0), ("to_k", 3, 6.0), ("to_v", 2, 1.0))):
        module = f"transformer.transformer_blocks.0.attn.{layer}"
        tensors[f"{module}.lora_A.weight"] = random(rank, 32, seed=index)
        tensors[f"{module}.lora_B.weight"] = random(32, rank, seed=10 + index)
        tensors[f"{module}.alpha"] = torch.tensor(alpha)
    save_file(tensors, tmp_path / "uneven")
    load_adapter(tmp_path / "uneven", backbone, foreign=True)
    expected = predict(backbone)
    layers = backbone.transformer.transformer_blocks[0].attn
    assert [layers.to_q.scaling["default"], layers.to_k.scaling["default"]] == [0.5, 2.0]
    for layout in ("kohya", "bfl", "diffusers"):
        convert_adapter(tmp_path / "uneven", tmp_path / layout, layout)
        backbone.transformer.unload_lora()
        load_adapter(tmp_path / layout, backbone, foreign=True)
        torch.testing.assert_close(predict(backbone), expected, atol=1e-5, rtol=0)


def test_an_untrained_lora_survives(backbone: FluxFill, tmp_path: Path) -> None:
    passport = save_random_adapter(backbone, tmp_path / "a")
    tensors = {
        key: torch.zeros_like(tensor) if "lora_B" in key else tensor
        for key, tensor in load_file(tmp_path / "a").items()
    }
    save_file(tensors, tmp_path / "zero", metadata={"anyrefill": passport.to_json()})
    convert_adapter(tmp_path / "zero", tmp_path / "kohya", "kohya")
    convert_adapter(tmp_path / "kohya", tmp_path / "back", "diffusers")
    after = load_file(tmp_path / "back")
    assert tensors.keys() == after.keys()
    assert all(torch.equal(after[key], tensor) for key, tensor in tensors.items())


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        (
            "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
            "keys that do not belong to it: lora_te1_text",
        ),
        ("lora_unet_double_blocks_0_img_attn_qkv.dora_scale", r"do not belong to it: .*dora_scale \(1 in all\)"),
        ("lora_unet_double_blocks_0_img_norm.lora_down.weight", r"do not belong to it: .*img_norm.lora_down.weight"),
        ("lora_unet_double_blocks_0_img_attn_proj.lora_up.weight", r"lacks keys: .*img_attn_proj.lora_down.weight"),
        ("lora_unet_double_blocks_0_img_attn_proj.alpha", r"lacks keys: .*img_attn_proj.lora_up.weight"),
        ("diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight", r"lacks keys: diffusion_.*qkv.lora_B.weight"),
    ],
)
def test_unknown_and_missing_keys_of_others_are_named(tmp_path: Path, key: str, complaint: str) -> None:
    save_file({key: torch.zeros(2, 32)}, tmp_path / "a")
    with pytest.raises(UserError, match=complaint):
        convert_adapter(tmp_path / "a", tmp_path / "b", "diffusers")
    assert not (tmp_path / "b").exists()


def pair(module: str, columns: int, rows: int, rank: int = 2) -> dict[str, Tensor]:
    return {f"{module}.lora_down.weight": random(rank, columns), f"{module}.lora_up.weight": random(rows, rank)}


@pytest.mark.parametrize(
    ("tensors", "complaint"),
    [
        (
            pair("lora_unet_double_blocks_7_img_mlp_0", 32, 128),
            r"do not belong to it: transformer.transformer_blocks.7.ff",
        ),
        (pair("lora_unet_double_blocks_0_img_mlp_0", 32, 64), "ff.net.0.proj is 32 -> 128, its LoRA of rank 2"),
        (pair("lora_unet_double_blocks_0_img_attn_qkv", 32, 64), r"does not fit FLUX: .*qkv has factors of \(2, 32\)"),
        (pair("lora_unet_img_in", 64, 32), r"x_embedder is 384 -> 32, .*\(2, 64\) .*as for plain FLUX.1, which sees"),
        (pair("diffusion_model.img_in", 64, 32), "as for plain FLUX.1, which sees neither masked picture nor mask$"),
    ],
)
def test_a_lora_of_other_shapes_is_refused(
    backbone: FluxFill, tmp_path: Path, tensors: dict[str, Tensor], complaint: str
) -> None:
    plain = predict(backbone)
    save_file(tensors, tmp_path / "a")
    with pytest.raises(UserError, match=complaint):
        load_adapter(tmp_path / "a", backbone, foreign=True)
    assert torch.equal(predict(backbone), plain)


def test_what_cannot_be_stacked_is_refused(tmp_path: Path) -> None:
    save_file({}, tmp_path / "empty")
    with pytest.raises(UserError, match="empty holds no LoRA"):
        convert_adapter(tmp_path / "empty", tmp_path / "b", "kohya")
    query, key = (f"transformer.transformer_blocks.0.attn.to_{part}" for part in "qk")
    save_file(pair(query, 32, 32) | pair(key, 24, 32), tmp_path / "widths")
    with pytest.raises(UserError, match=r"does not fit FLUX: double_blocks.0.img_attn.qkv cannot hold .*\(2, 24\)"):
        convert_adapter(tmp_path / "widths", tmp_path / "b", "kohya")
    assert not (tmp_path / "b").exists()


def test_keys_that_contradict_are_refused(backbone: FluxFill, tmp_path: Path) -> None:
    passport = save_random_adapter(backbone, tmp_path / "a")
    convert_adapter(tmp_path / "a", tmp_path / "kohya", "kohya")
    tensors = load_file(tmp_path / "kohya")
    tensors["lora_unet_double_blocks_0_img_attn_proj.alpha"] += 1
    save_file(tensors, tmp_path / "kohya", metadata={"anyrefill": passport.to_json()})
    with pytest.raises(UserError, match=r"says alpha 6.0 in its passport and 7.0 for transformer_blocks.0.attn.to_out"):
        load_adapter(tmp_path / "kohya", backbone)
    twice = pair("lora_unet_img_in", 384, 32) | pair("diffusion_model.img_in", 384, 32)
    save_file(twice, tmp_path / "twice")
    with pytest.raises(UserError, match="says twice what becomes of: x_embedder"):
        load_adapter(tmp_path / "twice", backbone, foreign=True)
    save_file(pair("img_in", 384, 32) | {"img_in.lora_up.weight": random(32, 5)}, tmp_path / "odd")
    with pytest.raises(UserError, match=r"cannot be multiplied for img_in: \(2, 384\) and \(32, 5\)"):
        load_adapter(tmp_path / "odd", backbone, foreign=True)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("[1]", "its lora_adapter_metadata is no object of JSON"),
        ("5", "its lora_adapter_metadata is no object of JSON"),
        ("{", "its lora_adapter_metadata is not valid JSON"),
        ("[" * 99_999, "its lora_adapter_metadata is not valid JSON"),
        ('{"transformer.lora_alpha": "8"}', "an alpha in it is no number"),
        ('{"transformer.lora_alpha": NaN}', "an alpha in it is no number"),
        ('{"transformer.alpha_pattern": [8]}', "an alpha in it is no number"),
        ('{"transformer.alpha_pattern": {"to_q": null}}', "an alpha in it is no number"),
        ('{"transformer.alpha_pattern": {"to_(q": 8}}', "a name in its alpha_pattern is none"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, settings: str, complaint: str) -> None:
    save_file(pair("img_in", 384, 32), tmp_path / "a", metadata={"lora_adapter_metadata": settings})
    with pytest.raises(UserError, match=f"a has a damaged header: {complaint}"):
        convert_adapter(tmp_path / "a", tmp_path / "b", "bfl")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("alpha", [[1.0, 2.0], float("nan"), float("inf")])
def test_an_alpha_that_is_no_number_is_refused(tmp_path: Path, alpha: object) -> None:
    save_file(pair("img_in", 384, 32) | {"img_in.alpha": torch.tensor(alpha)}, tmp_path / "a")
    with pytest.raises(UserError, match="a has an alpha that is no number for img_in"):
        convert_adapter(tmp_path / "a", tmp_path / "b", "diffusers")
    assert not (tmp_path / "b").exists()


def test_two_pairs_of_factors_for_one_layer_are_refused(tmp_path: Path) -> None:
    first = pair("img_in", 384, 32)
    second = {key.replace("lora_down", "lora_A").replace("lora_up", "lora_B"): 2 * part for key, part in first.items()}
    save_file(first | second, tmp_path / "a")
    with pytest.raises(UserError, match=r"a has two pairs of factors for: img_in \(1 in all\)"):
        convert_adapter(tmp_path / "a", tmp_path / "b", "diffusers")
    assert not (tmp_path / "b").exists()


def test_the_home_of_nobody_holds_no_adapter() -> None:
    with pytest.raises(UserError, match="There is no adapter ~nobody-of-that-name: nobody here has that home folder"):
        find_adapter("~nobody-of-that-name")


@settings(deadline=None, max_examples=40)
@given(
    ranks=st.lists(st.integers(0, 3), min_size=2, max_size=4).filter(any),
    alphas=st.lists(st.integers(1, 8), min_size=4, max_size=4),
)
def test_splitting_undoes_fusing(ranks: list[int], alphas: list[int]) -> None:
    rows = [5, 5, 5, 9][: len(ranks)]
    parts = [
        Factors(down=random(rank, 5, seed=i), up=random(height, rank, seed=8 + i), alpha=alphas[i]) if rank else None
        for i, (rank, height) in enumerate(zip(ranks, rows, strict=True))
    ]
    whole = fuse(parts, rows)
    assert whole.rank == sum(ranks)
    for part, again in zip(parts, split(whole, rows, [False] * len(rows)), strict=True):
        assert (part is None) == (again is None)
        if part is not None and again is not None:
            assert torch.equal(part.down, again.down)
            torch.testing.assert_close(again.scale * again.up, part.scale * part.up)


def test_reading_tells_what_was_written(everywhere: Path) -> None:
    lora = parse(everywhere, load_file(everywhere), alpha=lambda _layer, _rank: 6.0, named=lambda _layer: False)
    for layout in FOREIGN:
        again = parse(everywhere, render(lora, layout), alpha=lambda _layer, rank: rank, named=lambda _layer: False)
        assert again.keys() == lora.keys()
        assert {factors.alpha for factors in again.values()} == {6.0}


def test_the_command_converts_a_run_or_a_shipped_adapter(
    as_micro: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["convert", "colorization", "--to", "bfl", "--out", str(tmp_path / "comfy.safetensors")])
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"{tmp_path / 'comfy.safetensors'}\n", "")
    assert any(
        key.startswith("diffusion_model.single_blocks.0.linear1.") for key in load_file(tmp_path / "comfy.safetensors")
    )
    (tmp_path / "run").mkdir()
    save_file(pair("lora_unet_img_in", 64, 32), tmp_path / "run" / "adapter.safetensors")
    cli.main(["convert", str(tmp_path / "run"), "--to", "diffusers", "--out", str(tmp_path / "new")])
    assert "has no passport, so nothing says which base it fits" in capsys.readouterr().err
    for words, complaint in (
        (["missing", "--to", "bfl", "--out", "x"], "There is no adapter missing"),
        ([str(tmp_path / "new"), "--to", "bfl", "--out", str(tmp_path / "new")], "it is the adapter to read"),
    ):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["convert", *words])
        assert complaint in capsys.readouterr().err
