"""Prompt tuning: what trains, what CLIP then reads, and that it comes back from its file."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from anyrefill import Canvas, UserError
from anyrefill.backbone import Condition, Text
from anyrefill.backbone.adapters.files import convert_adapter, load_adapter
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.adapters.prompt import TENSOR, PromptTokens, inject_prompt, load_prompt, save_prompt
from anyrefill.backbone.fill import FluxFill
from random_adapter import predict
from tiny_checkpoint import save_tiny_checkpoint

SENTENCE = "remove the blur"


def passport_of(backbone: FluxFill, tokens: int = 50) -> Passport:
    return Passport(
        task="deblur", base=backbone.name, fingerprint=backbone.fingerprint(), kind="prompt",
        rank=tokens, alpha=tokens, targets=("token_embedding",),
    )  # fmt: skip


def trained(backbone: FluxFill, tokens: int = 50) -> PromptTokens:
    prompt = inject_prompt(backbone, SENTENCE, tokens=tokens)
    with torch.no_grad():
        prompt.parameters[0].add_(0.3 * torch.randn(tokens, 24, generator=torch.Generator().manual_seed(1)))
    return prompt


def test_every_token_begins_as_the_mean_of_the_sentence(backbone: FluxFill) -> None:
    clip = backbone.clip
    words = clip.tokenizer(SENTENCE)["input_ids"][1:-1]
    expected = clip.encoder.get_input_embeddings().weight[torch.tensor(words)].mean(dim=0)
    (vectors,) = inject_prompt(backbone, SENTENCE).parameters
    assert vectors.shape == (50, 24)
    torch.testing.assert_close(vectors, expected.expand(50, -1))


def test_clip_reads_the_tokens_as_if_they_were_words(backbone: FluxFill) -> None:
    ids = backbone.clip.tokenizer("x")["input_ids"]
    word = backbone.clip.encoder.get_input_embeddings().weight[ids[1]]
    expected = backbone.encode_text(["x x x b"])
    prompt = inject_prompt(backbone, "x", tokens=3)
    torch.testing.assert_close(prompt.parameters[0], word.expand(3, -1))
    read = backbone.encode_text(["b"])
    torch.testing.assert_close(read.pooled, expected.pooled)
    assert not torch.equal(read.embeds, expected.embeds), "T5 does not read them"


def test_gradients_reach_the_tokens_and_nothing_else(backbone: FluxFill) -> None:
    prompt = trained(backbone)
    canvas = Canvas.stitch(torch.zeros(3, 32, 32), torch.zeros(3, 32, 32), torch.ones(1, 32, 32))
    text = Text(embeds=backbone.encode_text(["a"]).embeds, pooled=prompt.pooled(["a"]))
    condition = Condition.of(canvas, text, backbone)
    backbone.velocity(torch.randn(1, 8, 64), torch.tensor([0.5]), condition, 1.0).square().mean().backward()
    (vectors,) = prompt.parameters
    assert vectors.grad is not None
    assert vectors.grad.shape == (50, 24)
    assert vectors.grad.abs().sum(dim=1).all(), "every token feels the loss"
    frozen = [*backbone.transformer.parameters(), *(w for w in backbone.clip.encoder.parameters() if w is not vectors)]
    assert not any(weight.requires_grad for weight in frozen)
    assert all(weight.grad is None for weight in frozen)


def test_training_goes_on_without_the_text_encoders(backbone: FluxFill, tmp_path: Path) -> None:
    prompt = trained(backbone)
    before = prompt.pooled(["a", "b"])
    backbone.free("text_encoder")
    assert torch.equal(prompt.pooled(["a", "b"]), before)
    assert before.requires_grad
    save_prompt(tmp_path / "a", prompt, passport_of(backbone))
    assert torch.equal(load_file(tmp_path / "a")["clip.prompt_tokens"], prompt.parameters[0])


def test_a_step_of_training_brings_the_pooled_vector_nearer(backbone: FluxFill) -> None:
    wanted = backbone.encode_text(["z q"]).pooled
    prompt = inject_prompt(backbone, SENTENCE, tokens=8)
    optimizer = torch.optim.AdamW(prompt.parameters, lr=0.05, weight_decay=0.01)
    losses: list[float] = []
    for _ in range(8):
        loss = (prompt.pooled(["a"]) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_eject_restores_what_was_read(backbone: FluxFill) -> None:
    plain, velocity, reader = backbone.encode_text(["a"]), predict(backbone), backbone.clip
    prompt = trained(backbone)
    assert (predict(backbone) - velocity).abs().max() > 1e-3
    with pytest.raises(UserError, match="trained prompt tokens in CLIP already: eject them first"):
        inject_prompt(backbone, SENTENCE)
    prompt.eject()
    assert backbone.clip is reader
    assert torch.equal(backbone.encode_text(["a"]).pooled, plain.pooled)
    assert torch.equal(predict(backbone), velocity)


def test_words_without_a_place_are_not_read_and_that_is_said(
    backbone: FluxFill, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = trained(backbone)
    fitting, longer = " ".join("abcdefghijklmnopqrstuvwxy"), " ".join("abcdefghijklmnopqrstuvwxyz")
    with torch.no_grad():
        read = prompt.pooled([fitting])
        assert caplog.records == []
        assert torch.equal(prompt.pooled([longer]), read)
    assert caplog.messages == ["CLIP reads only the first 27 tokens of a prompt beside 50 trained ones"]
    together = prompt.pooled(["a", longer])
    torch.testing.assert_close(together, torch.cat([prompt.pooled(["a"]), read]))


@pytest.mark.parametrize("tokens", [0, 76])
def test_as_many_tokens_as_clip_has_room_for(backbone: FluxFill, tokens: int) -> None:
    with pytest.raises(UserError, match=f"CLIP reads 77 tokens, so that 1 to 75 can be trained, not {tokens}"):
        inject_prompt(backbone, SENTENCE, tokens=tokens)
    inject_prompt(backbone, SENTENCE, tokens=75)
    assert backbone.encode_text(["a b"]).pooled.isfinite().all()


def test_a_prompt_comes_back_from_its_file(backbone: FluxFill, base: Path, tmp_path: Path) -> None:
    prompt = trained(backbone)
    passport = passport_of(backbone)
    save_prompt(tmp_path / "deep" / "prompt.safetensors", prompt, passport)
    expected = predict(backbone, "a b")
    other = FluxFill.load(base)
    again, read = load_prompt(tmp_path / "deep" / "prompt.safetensors", other)
    assert read == passport
    assert torch.equal(again.parameters[0], prompt.parameters[0])
    torch.testing.assert_close(predict(other, "a b"), expected, atol=1e-5, rtol=1e-5)
    assert not again.parameters[0].requires_grad
    again.eject()
    resumed, _ = load_prompt(tmp_path / "deep" / "prompt.safetensors", other, trainable=True)
    assert resumed.parameters[0].requires_grad
    half = FluxFill.load(base, dtype=torch.bfloat16)
    coarse, _ = load_prompt(tmp_path / "deep" / "prompt.safetensors", half)
    assert coarse.parameters[0].dtype == torch.float32
    torch.testing.assert_close(
        half.encode_text(["a"]).pooled.float(), other.encode_text(["a"]).pooled, atol=0.1, rtol=0
    )


def test_prompts_that_do_not_fit_are_refused(backbone: FluxFill, tmp_path: Path) -> None:
    prompt, passport, path = trained(backbone), passport_of(backbone), tmp_path / "a"
    for lie in ({"rank": 49}, {"kind": "lora"}, {"fingerprint": "0" * 64}):
        with pytest.raises(UserError):
            save_prompt(path, prompt, replace(passport, **lie))
    assert not path.exists()
    save_prompt(path, prompt, passport)
    prompt.eject()
    with pytest.raises(UserError, match="is an adapter of the kind 'prompt', not a LoRA"):
        load_adapter(path, backbone)
    with pytest.raises(UserError, match="is an adapter of the kind 'prompt', not a LoRA"):
        convert_adapter(path, tmp_path / "b", "bfl")
    with torch.no_grad():
        backbone.clip.encoder.get_input_embeddings().weight.add_(1)
    with pytest.raises(UserError, match="was trained with another CLIP than that of"):
        load_prompt(path, backbone)
    other = FluxFill.load(save_tiny_checkpoint(tmp_path / "other", seed=1))
    with pytest.raises(UserError, match="was trained on another base"):
        load_prompt(path, other)
    save_file({"x": torch.zeros(2)}, path, metadata={"anyrefill": passport.to_json()})
    with pytest.raises(UserError, match="is no prompt: it should hold clip.prompt_tokens and nothing else"):
        load_prompt(path, backbone)
    for shape in ((50,), (49, 24), (1, 50, 24)):
        save_file({TENSOR: torch.zeros(shape)}, path, metadata={"anyrefill": passport.to_json()})
        with pytest.raises(UserError, match=f"is damaged: 50 tokens are in its passport, and {TENSOR} is "):
            load_prompt(path, backbone)
    save_file({"x": torch.zeros(2)}, path, metadata={"anyrefill": replace(passport, kind="lora").to_json()})
    with pytest.raises(UserError, match="is an adapter of the kind 'lora', not a prompt"):
        load_prompt(path, backbone)
    with pytest.raises(UserError, match="begins with a sentence"):
        inject_prompt(backbone, " ")
