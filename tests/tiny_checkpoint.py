"""A FLUX.1-Fill folder in miniature: random weights in diffusers' own layout, built without a network."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def save_tiny_checkpoint(
    folder: Path, *, guidance_embeds: bool = True, seed: int = 0, in_channels: int = 384, heads: int = 2
) -> Path:
    """Write a fill model of about 0.5 M parameters and return its folder."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = {
            "transformer": tiny_transformer(guidance_embeds=guidance_embeds, in_channels=in_channels, heads=heads),
            "vae": tiny_vae(),
            "text_encoder": CLIPTextModel(clip_config()),
            "text_encoder_2": T5EncoderModel(t5_config()),
        }
        for part in parts.values():
            _spread(part)
    scheduler = FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, max_image_seq_len=4096
    )
    others = {"tokenizer": clip_tokenizer(), "tokenizer_2": t5_tokenizer(), "scheduler": scheduler}
    for name, part in {**parts, **others}.items():
        part.save_pretrained(folder / name)
    (folder / "model_index.json").write_text(json.dumps(MODEL_INDEX))
    (folder / "anyrefill.json").write_text(json.dumps({"max_sequence_length": 24, "guidance": 1.0, "panel": 64}))
    return folder


def save_tiny_adapter(base: Path, path: Path, task: str, seed: int = 1, **said: object) -> Path:
    """Write a random LoRA for a tiny checkpoint, whose passport says some more, and return its file."""
    from anyrefill.backbone.fill import FluxFill
    from random_adapter import save_random_adapter

    save_random_adapter(
        FluxFill.load(base), path, rank=2, alpha=2.0, seed=seed, task=task, prompt="{caption}", versions=(),
        guidance_paint=2.5, steps_paint=3, height=64, width=128, max_sequence_length=24, **said,
    )  # fmt: skip
    return path


MODEL_INDEX = {
    "_class_name": "FluxFillPipeline",
    "_diffusers_version": "0.42.1",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def tiny_transformer(*, guidance_embeds: bool = True, in_channels: int = 384, heads: int = 2) -> FluxTransformer2DModel:
    """Return two double and two single blocks of width 16 * heads."""
    return FluxTransformer2DModel(
        in_channels=in_channels,
        out_channels=64,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=heads,
        joint_attention_dim=32,
        pooled_projection_dim=24,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )


def tiny_vae() -> AutoencoderKL:
    """Return an autoencoder with 16 latent channels at 1/8 of the size."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )


def clip_config() -> CLIPTextConfig:
    """Return a CLIP text encoder of width 24."""
    return CLIPTextConfig(
        vocab_size=len(clip_tokenizer()),
        hidden_size=24,
        projection_dim=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def t5_config() -> T5Config:
    """Return a T5 encoder of width 32."""
    return T5Config(
        vocab_size=len(t5_tokenizer()), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip


def clip_tokenizer() -> CLIPTokenizer:
    """Return a tokenizer of single letters."""
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)


def t5_tokenizer() -> T5TokenizerFast:
    """Return a unigram tokenizer of single letters."""
    words = ["<pad>", "</s>", "<unk>", "▁", *LETTERS]
    return T5TokenizerFast(vocab=[(word, -2.0) for word in words], extra_ids=0, model_max_length=512)


def _spread(part: nn.Module) -> None:
    """Make every weight large enough to matter: diffusers starts some at zero, which would hide mistakes."""
    for name, weight in part.named_parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=0.5 / weight[0].numel() ** 0.5 if "embed" not in name else 0.2)
        elif name.endswith("bias"):
            nn.init.normal_(weight, std=0.05)
