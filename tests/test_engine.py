"""The engine computes what diffusers computes, and its clean prefix what one masked pass computes."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor
from torch.nn import functional as F

from anyrefill import UserError
from anyrefill.backbone import ATTENTIONS, Attention, Condition, Text, known_attention
from anyrefill.backbone.adapters.lora import inject
from anyrefill.backbone.engine import Layout, by_modules, field, fused, masked_forward, products
from anyrefill.backbone.engine.layers import packed
from anyrefill.backbone.engine.layout import gather, scatter
from anyrefill.backbone.engine.products import PackedProducts, PlainProducts, packs
from anyrefill.backbone.latents import image_ids
from tiny_checkpoint import tiny_transformer

BOUND = 1e-5
"""Of velocities of deviation about 0.6 in float32; measured 1.1e-6."""
GUIDANCE, WORDS, TOKENS = 3.5, 5, 32
CLEAN: list[Attention] = ["clean_ref", "clean_ref_text"]


@pytest.fixture(params=[True, False], ids=["guided", "unguided"])
def model(request: pytest.FixtureRequest) -> FluxTransformer2DModel:
    return a_model(guidance_embeds=request.param)


def a_model(*, guidance_embeds: bool = True) -> FluxTransformer2DModel:
    torch.manual_seed(0)
    transformer = tiny_transformer(guidance_embeds=guidance_embeds)
    for weight in transformer.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return transformer.requires_grad_(False)


def a_condition(rows: int = 3, *, ragged: bool = False) -> Condition:
    """Canvases of 4 x 8 tokens whose right half is to be painted, or a part of it that differs from row to row."""
    mask = torch.zeros(rows, 4, 8, 256)
    mask[:, :, 4:] = 1
    if ragged:
        mask[1, 0, 4:] = 0
        mask[2, :2, 4:] = 0
        mask[2, 1, 5, 17] = 1  # one pixel is enough
    fill = torch.cat([torch.randn(rows, TOKENS, 64), mask.flatten(1, 2)], -1)
    text = Text(embeds=torch.randn(rows, WORDS, 32), pooled=torch.randn(rows, 24))
    return Condition(fill=fill, img_ids=image_ids(64, 128), text=text)


def row_of(condition: Condition, row: int) -> Condition:
    text = Text(embeds=condition.text.embeds[row : row + 1], pooled=condition.text.pooled[row : row + 1])
    return replace(condition, fill=condition.fill[row : row + 1], text=text)


def diffusers(model: FluxTransformer2DModel, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
    return model(
        hidden_states=torch.cat([x, condition.fill], -1),
        encoder_hidden_states=condition.text.embeds,
        pooled_projections=condition.text.pooled,
        timestep=sigma,
        guidance=torch.full_like(sigma, GUIDANCE) if model.config["guidance_embeds"] else None,
        img_ids=condition.img_ids,
        txt_ids=torch.zeros(WORDS, 3),
        return_dict=False,
    )[0]


def in_one_pass(
    model: FluxTransformer2DModel, x: Tensor, sigma: float, condition: Condition, attention: Attention
) -> Tensor:
    """All tokens of one canvas in one pass of diffusers' own layers, with a dense mask and noise levels for each token.

    Written apart from the engine, in the plainest way: every layer runs on all tokens at both noise levels, and each
    token takes the one that is its own.
    """
    noisy = condition.fill[0, :, 64:].amax(-1) > 0
    latents = torch.where(noisy[:, None], x[0], condition.fill[0, :, :64])
    image = model.x_embedder(torch.cat([latents, condition.fill[0]], -1))[None]
    text = model.context_embedder(condition.text.embeds)
    clean = torch.cat([torch.full((WORDS,), attention == "clean_ref_text"), ~noisy])
    seen = ~clean[:, None] | clean[None, :]
    embed = model.time_text_embed
    strength = (torch.full((2,), 1000 * GUIDANCE),) if model.config["guidance_embeds"] else ()
    both = embed(torch.tensor([0.0, 1000 * sigma]), *strength, condition.text.pooled.expand(2, -1))
    rope = model.pos_embed(torch.cat([torch.zeros(WORDS, 3), condition.img_ids]))

    def own(rows: Tensor, still: Tensor) -> Tensor:
        return torch.where(still[:, None], rows[0], rows[1])[None]

    def normed(norm: torch.nn.Module, x: Tensor, still: Tensor) -> list[Tensor]:
        y, *others = norm(x.expand(2, -1, -1), emb=both)
        spread = [value[:, None].expand(-1, x.shape[1], -1) for value in others]
        return [own(y, still), *(own(value, still) for value in spread)]

    mask = {"attention_mask": seen[None, None]}
    for block in model.transformer_blocks:
        y, gate, shift, scale, gate_up = normed(block.norm1, image, clean[WORDS:])
        z, text_gate, text_shift, text_scale, text_gate_up = normed(block.norm1_context, text, clean[:WORDS])
        a, b = block.attn(hidden_states=y, encoder_hidden_states=z, image_rotary_emb=rope, **mask)
        image, text = image + gate * a, text + text_gate * b
        image = image + gate_up * block.ff(block.norm2(image) * (1 + scale) + shift)
        text = text + text_gate_up * block.ff_context(block.norm2_context(text) * (1 + text_scale) + text_shift)
    x = torch.cat([text, image], 1)
    for block in model.single_transformer_blocks:
        y, gate = normed(block.norm, x, clean)
        a = block.attn(hidden_states=y, image_rotary_emb=rope, **mask)
        x = x + gate * block.proj_out(torch.cat([a, block.act_mlp(block.proj_mlp(y))], -1))
    return model.proj_out(model.norm_out(x[:, WORDS:], both[1:]))[0, noisy]


@pytest.mark.parametrize("ragged", [False, True])
def test_full_attention_is_diffusers(model: FluxTransformer2DModel, ragged: bool) -> None:
    condition, x, sigma = a_condition(ragged=ragged), torch.randn(3, TOKENS, 64), torch.tensor([0.7, 0.7, 0.7])
    theirs = diffusers(model, x, sigma, condition)
    assert theirs.std() > 0.1
    torch.testing.assert_close(masked_forward(model, x, sigma, condition, GUIDANCE), theirs, atol=BOUND, rtol=0)
    for layers in (by_modules(model), fused(copy.deepcopy(model))):
        ours = field(layers, condition, GUIDANCE, [0.9, 0.7, 0.0], "full")
        torch.testing.assert_close(ours(x, 0.7), theirs, atol=BOUND, rtol=0)


def test_every_row_has_its_own_noise_level_in_training() -> None:
    model, condition, x = a_model(), a_condition(), torch.randn(3, TOKENS, 64)
    sigma = torch.tensor([0.1, 0.5, 1.0])
    ours = masked_forward(model, x, sigma, condition, GUIDANCE)
    torch.testing.assert_close(ours, diffusers(model, x, sigma, condition), atol=BOUND, rtol=0)


@pytest.mark.parametrize("attention", CLEAN)
@pytest.mark.parametrize("ragged", [False, True])
def test_prefix_and_decoding_are_one_masked_pass(
    model: FluxTransformer2DModel, attention: Attention, ragged: bool
) -> None:
    condition, x = a_condition(ragged=ragged), torch.randn(3, TOKENS, 64)
    ours = field(fused(copy.deepcopy(model)), condition, GUIDANCE, [0.9, 0.7, 0.0], attention)
    ours(torch.randn_like(x), 0.9)  # what was decoded before leaves no trace
    painted, full = ours(x, 0.7), diffusers(model, x, torch.full((3,), 0.7), condition)
    for row in range(3):
        noisy = condition.fill[row, :, 64:].amax(-1) > 0
        expected = in_one_pass(model, x[row : row + 1], 0.7, row_of(condition, row), attention)
        torch.testing.assert_close(painted[row, noisy], expected, atol=BOUND, rtol=0)
        assert (full[row, noisy] - expected).abs().max() > 100 * BOUND, (
            "the mask must matter for this to prove anything"
        )
        known = (x[row, ~noisy] - condition.fill[row, ~noisy, :64]) / 0.7
        torch.testing.assert_close(painted[row, ~noisy], known)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_training_predicts_what_paints(attention: Attention) -> None:
    model, condition, x = a_model(), a_condition(ragged=True), torch.randn(3, TOKENS, 64)
    painted = field(fused(copy.deepcopy(model)), condition, GUIDANCE, [0.4], attention)(x, 0.4)
    trained = masked_forward(model, x, torch.full((3,), 0.4), condition, GUIDANCE, attention=attention)
    torch.testing.assert_close(trained, painted, atol=BOUND, rtol=0)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_canvas_alone_is_the_canvas_in_company(attention: Attention) -> None:
    model, condition, x = a_model(), a_condition(ragged=True), torch.randn(3, TOKENS, 64)
    layers = fused(model)
    together = field(layers, condition, GUIDANCE, [0.7], attention)(x, 0.7)
    for row in range(3):
        alone = field(layers, row_of(condition, row), GUIDANCE, [0.7], attention)(x[row : row + 1], 0.7)
        torch.testing.assert_close(alone[0], together[row], atol=BOUND, rtol=0)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_draws_that_share_a_prefix_have_the_gradients_of_separate_passes(attention: Attention) -> None:
    model, condition, draws = a_model(), a_condition(2), 3
    parameters = inject(model, rank=2, seed=1)
    for weight in parameters:
        torch.nn.init.normal_(weight, std=0.2)
    x, sigma = torch.randn(2 * draws, TOKENS, 64), torch.rand(2 * draws)
    weight = condition.fill[..., 64:].mean(-1).repeat_interleave(draws, 0)[..., None]

    def loss(guess: Tensor, rows: slice | list[int]) -> Tensor:
        return (guess.pow(2) * weight[rows]).sum()

    shared = masked_forward(model, x, sigma, condition, GUIDANCE, attention=attention, draws=draws)
    expected = [
        masked_forward(model, x[i : i + 1], sigma[i : i + 1], row_of(condition, i // draws), GUIDANCE,
                       attention=attention)
        for i in range(2 * draws)
    ]  # fmt: skip
    torch.testing.assert_close(shared, torch.cat(expected), atol=BOUND, rtol=0)
    ours = torch.autograd.grad(loss(shared, slice(None)), parameters)
    theirs = torch.autograd.grad(loss(torch.cat(expected), slice(None)), parameters)
    flat, wanted = (torch.cat([part.flatten() for part in parts]) for parts in (ours, theirs))
    assert wanted.norm() > 1
    assert (flat - wanted).norm() / wanted.norm() < 1e-5


def test_fusing_changes_neither_weights_nor_size() -> None:
    model = a_model()
    before, size = copy.deepcopy(model.state_dict()), held(model)
    fused(model)
    fused(model)
    assert all(torch.equal(after, before[name]) for name, after in model.state_dict().items())
    assert held(model) == size


def held(model: FluxTransformer2DModel) -> int:
    """Bytes of all storages that the parameters lie in, each counted once."""
    storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in model.parameters()}
    return sum(storages.values())


def test_what_is_written_into_a_weight_later_is_in_the_fused_one() -> None:
    model, condition, x = a_model(), a_condition(1), torch.randn(1, TOKENS, 64)
    layers = fused(model)
    model.single_transformer_blocks[0].proj_mlp.weight.data.mul_(2)
    ours = field(layers, condition, GUIDANCE, [0.7], "full")(x, 0.7)
    torch.testing.assert_close(ours, diffusers(model, x, torch.tensor([0.7]), condition), atol=BOUND, rtol=0)


def test_an_unmerged_adapter_is_not_fused_away() -> None:
    model, condition, x = a_model(), a_condition(1), torch.randn(1, TOKENS, 64)
    plain = field(by_modules(model), condition, GUIDANCE, [0.7], "full")(x, 0.7)
    for weight in inject(model, rank=2):
        torch.nn.init.normal_(weight, std=0.2)
    with pytest.raises(UserError, match="needs the adapter in its weights: merge it first"):
        fused(model)
    adapted = field(by_modules(model), condition, GUIDANCE, [0.7], "full")(x, 0.7)
    assert (adapted - plain).abs().max() > 0.01
    torch.testing.assert_close(adapted, diffusers(model, x, torch.tensor([0.7]), condition), atol=BOUND, rtol=0)


def test_bfloat16_is_as_close_as_diffusers_own() -> None:
    model, condition, x = a_model(), a_condition(), torch.randn(3, TOKENS, 64)
    exact = diffusers(model, x, torch.full((3,), 0.7), condition)
    coarse = copy.deepcopy(model).bfloat16()
    ours = field(fused(coarse), condition, GUIDANCE, [0.7], "full")(x, 0.7)
    assert ours.dtype == torch.float32
    assert (ours - exact).norm() / exact.norm() < 0.02  # measured 0.007


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_products_are_the_products(dtype: torch.dtype, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no instructions for bfloat16, so that nothing is packed")
    assert packs(torch.device("cpu"), dtype), "this torch was built without oneDNN: nothing is packed here"
    monkeypatch.setattr(products, "activates_fast", lambda: fast)
    weight, bias, x = (torch.randn(shape, dtype=dtype) for shape in ((24, 40), (24,), (2, 5, 40)))
    plain, packed_ones = PlainProducts(), PackedProducts(rows=10)
    bound = 1e-5 if dtype == torch.float32 else 0.1  # of sums of 40 products; bfloat16 keeps 8 bits
    with torch.no_grad():
        for rows in (x, x[:1]):
            for activate in (False, True):
                expected = F.linear(rows, weight, bias)
                expected = F.gelu(expected, approximate="tanh") if activate else expected
                torch.testing.assert_close(
                    plain.one(weight, bias, activate=activate)(rows), expected, atol=bound, rtol=0
                )
                found = packed_ones.one(weight, bias, activate=activate)(rows)
                torch.testing.assert_close(found, expected, atol=bound, rtol=0)
            expected = plain.two(weight, bias, 16)(rows[..., :16], rows[..., 16:])
            found = packed_ones.two(weight, bias, 16)(rows[..., :16], rows[..., 16:])
            torch.testing.assert_close(found, expected, atol=bound, rtol=0)


def test_too_large_a_model_is_not_held_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = fused(a_model())
    assert packed(layers, 32, 5) is not layers
    monkeypatch.setattr("anyrefill.backbone.engine.layers.LARGEST", 1000)
    assert packed(layers, 32, 5) is layers
    assert packed(by_modules(a_model()), 32, 5).fused is False


def test_fields_of_like_passes_share_their_packed_weights_until_these_change() -> None:
    layers = fused(a_model())
    first = packed(layers, 32, 5)
    assert packed(layers, 32, 5) is first
    assert packed(layers, 16, 5) is not first
    with torch.no_grad():
        next(layers.model.parameters()).mul_(2)  # an adapter comes or goes while a run rests
    assert packed(layers, 32, 5) is not first


def test_nothing_to_paint_and_nothing_known_are_layouts_too() -> None:
    model, x = a_model(), torch.randn(2, TOKENS, 64)
    condition = a_condition(2)
    condition.fill[0, :, 64:], condition.fill[1, :, 64:] = 0, 1
    painted = field(fused(model), condition, GUIDANCE, [0.5], "clean_ref")(x, 0.5)
    torch.testing.assert_close(painted[0], (x[0] - condition.fill[0, :, :64]) / 0.5)
    expected = diffusers(model, x, torch.tensor([0.5, 0.5]), condition)
    torch.testing.assert_close(painted[1], expected[1], atol=BOUND, rtol=0)


def test_layouts_sort_and_put_back() -> None:
    condition = a_condition(ragged=True)
    layout, tokens = Layout.of(condition.fill), torch.randn(3, TOKENS, 7)
    assert layout.clean_counts.sum(1).tolist() == [16, 20, 23]
    assert layout.noisy_counts.sum(1).tolist() == [16, 12, 9]
    back = scatter(gather(tokens, layout.noisy), layout.noisy, TOKENS)
    assert torch.equal(back[layout.noisy_here], tokens[layout.noisy_here])
    assert len(Layout.of(a_condition().fill).clean) == 1, "equal canvases share one row"


def test_attentions_have_names() -> None:
    assert known_attention("clean_ref") == "clean_ref"
    with pytest.raises(UserError, match="no attention 'causal'; there are full, clean_ref, clean_ref_text"):
        known_attention("causal")


def test_a_checkpoint_of_a_fused_model_is_whole(tmp_path: Path) -> None:
    model = a_model()
    fused(model)
    model.save_pretrained(tmp_path)
    again = FluxTransformer2DModel.from_pretrained(tmp_path)
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in again.state_dict().items())
