"""Put the embedded backbone together as one folder in diffusers' layout, bf16 safetensors, and report its size.

    python -m recipes.micro.pack                       # into src/anyrefill/assets/micro
    python -m recipes.micro.pack --decoder RUN         # only what recipes.micro.autoencoder --out RUN has learnt
    python -m recipes.micro.pack --transformer RUN     # only what recipes.micro.transformer --out RUN has learnt
    ... --transformer FOLDER --out COPY                # or a packed one, a folder of diffusers' layout

Adapters that are there stay; those of another transformer are refused by it until they are trained anew.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from recipes.micro.transformer import HOME, make_transformer

ASSETS = Path(__file__).parents[2] / "src" / "anyrefill" / "assets" / "micro"
INDEX = {
    "_class_name": "FluxFillPipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
SETTINGS = {"max_sequence_length": 24, "guidance": 1.0, "panel": 128, "squares_only": True}


def pack(out: Path, home: Path = HOME) -> None:
    """Collect the averaged weights of every part."""
    out.mkdir(parents=True, exist_ok=True)
    pack_transformer(home / "transformer", out)
    vae = AutoencoderKL.from_pretrained(home / "autoencoder" / "vae")
    if (home / "autoencoder" / "ema.pt").exists():
        vae.decoder.load_state_dict(torch.load(home / "autoencoder" / "ema.pt"))
    save(vae, out / "vae")
    text = home / "text"
    T5EncoderModel.from_pretrained(text / "text_encoder_2").bfloat16().save_pretrained(out / "text_encoder_2")
    CLIPTextModel.from_pretrained(text / "text_encoder").bfloat16().save_pretrained(out / "text_encoder")
    T5TokenizerFast.from_pretrained(text / "tokenizer_2").save_pretrained(out / "tokenizer_2")
    CLIPTokenizer.from_pretrained(text / "tokenizer").save_pretrained(out / "tokenizer")
    FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, max_image_seq_len=4096
    ).save_pretrained(out / "scheduler")
    (out / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")
    (out / "anyrefill.json").write_text(json.dumps(SETTINGS, indent=2) + "\n")


def save(part: AutoencoderKL | FluxTransformer2DModel, folder: Path) -> None:
    """Write a part in bfloat16, without the path that it was read from."""
    part.register_to_config(_name_or_path="")
    part.bfloat16().save_pretrained(folder)


def pack_transformer(run: Path, out: Path) -> None:
    """Write a run's averaged transformer, that of its decay if there was one; or one that is packed already."""
    if (run / "config.json").exists():
        transformer = FluxTransformer2DModel.from_pretrained(run)
    else:
        transformer = make_transformer()
        averages = [run / name for name in ("decayed/ema.pt", "ema.pt")]
        transformer.load_state_dict(torch.load(next(path for path in averages if path.exists())))
    save(transformer, out / "transformer")


def pack_decoder(run: Path, out: Path) -> None:
    """Put a run's averaged decoder in the place of the packed one; encoder, transformer and adapters stay."""
    vae = AutoencoderKL.from_pretrained(out / "vae")
    vae.decoder.load_state_dict(torch.load(run / "ema.pt"))
    save(vae, out / "vae")


def replace(out: Path) -> None:
    """Pack everything anew in the place of what is there, but for the adapters."""
    temporary = out.with_name(out.name + ".new")
    shutil.rmtree(temporary, ignore_errors=True)
    pack(temporary)
    if (out / "adapters").exists():
        shutil.copytree(out / "adapters", temporary / "adapters")
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)


def main() -> None:
    """Pack and print what each part weighs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=ASSETS)
    parser.add_argument("--decoder", type=Path, help="folder of a run of recipes.micro.autoencoder")
    parser.add_argument("--transformer", type=Path, help="of a run of recipes.micro.transformer, or packed")
    args = parser.parse_args()
    if args.decoder is not None:
        pack_decoder(args.decoder, args.out)
    if args.transformer is not None:
        pack_transformer(args.transformer, args.out)
    if args.decoder is None and args.transformer is None:
        replace(args.out)
    for part in sorted(path for path in args.out.iterdir() if path.is_dir()):
        print(f"{part.name:16} {sum(f.stat().st_size for f in part.rglob('*') if f.is_file()) / 1e6:7.2f} MB")
    print(f"{'all':16} {sum(f.stat().st_size for f in args.out.rglob('*') if f.is_file()) / 1e6:7.2f} MB")


if __name__ == "__main__":
    main()
