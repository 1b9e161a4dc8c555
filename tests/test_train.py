"""Training: it learns, it resumes bit for bit, and it refuses what would be lost or mixed up."""

import json
import math
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import anyrefill
from anyrefill import images
from anyrefill.backbone import precision
from anyrefill.backbone.adapters.files import load_adapter, read_passport
from anyrefill.backbone.fill import FluxFill
from anyrefill.errors import UserError
from anyrefill.pairs import Pair, write_pairs
from anyrefill.train import Cached, Note, Step, TrainConfig, rate, store, train, training, validate
from anyrefill.train.checkpoint import Checkpoint, State
from anyrefill.train.data import _rows, draw, steps_of
from anyrefill.train.log import Entry, curve
from anyrefill.train.masters import Masters
from anyrefill.train.run import _prepare, _Run
from anyrefill.train.validate import sigma_at, validation_loss
from panels import random_panel
from short_runs import close_after, short_run
from tiny_checkpoint import save_tiny_checkpoint


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("train")
    return short_run(folder, save_tiny_checkpoint(folder / "base"), steps=4)


@pytest.fixture(scope="module")
def whole(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was not disturbed."""
    out = tmp_path_factory.mktemp("whole")
    finished(replace(config, out=out))
    return out


def finished(config: TrainConfig) -> dict[str, torch.Tensor]:
    *_, last = train(config)
    assert last.adapter is not None
    return load_file(last.adapter)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def states(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "checkpoints").iterdir())


def test_a_run_that_was_closed_goes_on_bit_for_bit(config: TrainConfig, whole: Path, tmp_path: Path) -> None:
    broken = replace(config, out=tmp_path)
    close_after(broken, 1)
    assert states(tmp_path) == ["state-0000001.pt", "state-0000001.pt.sha256"]
    close_after(broken, 3)
    again = finished(broken)
    assert any(float(weight.abs().max()) > 0 for name, weight in again.items() if "lora_B" in name)
    assert same(load_file(whole / "adapter.safetensors"), again)
    lines = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [json.loads(line)["loss"] for line in (whole / "log.jsonl").read_text().splitlines()]


def test_two_checkpoints_are_kept(whole: Path) -> None:
    names = ("state-0000002.pt", "state-0000004.pt")
    assert states(whole) == sorted([*names, *(f"{name}.sha256" for name in names)])


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are Unix's")
def test_a_disk_that_is_full_at_a_checkpoint_is_told(config: TrainConfig, tmp_path: Path) -> None:
    import resource

    state = State(step=1, parameters=[torch.zeros(10**5)], average=[], optimizer={})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, before[1]))
    try:
        with pytest.raises(UserError, match=r"Cannot write .*state-0000001.pt: File too large"):
            Checkpoint(replace(config, out=tmp_path), "pairs", "base").save(state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_damaged_checkpoint_falls_back(config: TrainConfig, whole: Path, tmp_path: Path) -> None:
    broken = replace(config, out=tmp_path)
    close_after(broken, 3)
    newest = tmp_path / "checkpoints" / "state-0000003.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    records = list(training(broken))
    notes = [record.text for record in records if isinstance(record, Note)]
    assert notes == [f"{newest} is damaged (its sha256 is another): going on from the one before."]
    assert [record.step for record in records if isinstance(record, Step)] == [3, 4]
    assert same(load_file(whole / "adapter.safetensors"), load_file(tmp_path / "adapter.safetensors"))


def test_a_damaged_checkpoint_does_not_outlive_a_good_one(config: TrainConfig, tmp_path: Path) -> None:
    one = replace(config, out=tmp_path, keep=1)
    close_after(one, 1)
    kept = {path: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()}
    close_after(one, 3)
    for path, content in kept.items():
        path.write_bytes(content)
    (tmp_path / "checkpoints" / "state-0000003.pt").write_bytes(b"half")
    close_after(one, 2)
    assert Checkpoint(one, "", "").folder.joinpath("state-0000002.pt").exists()


def test_checkpoints_that_are_all_damaged_stop_the_run(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "state-0000002.pt").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(UserError, match="No checkpoint in .* can be read; remove the folder to start anew"):
        Checkpoint(replace(config, out=tmp_path), "", "").load()


def test_a_finished_run_says_so(config: TrainConfig, whole: Path) -> None:
    records = list(training(replace(config, out=whole)))
    assert not [record for record in records if isinstance(record, Step)]
    assert [record.text for record in records if isinstance(record, Note)] == [
        f"The run in {whole} is finished: {whole / 'adapter.safetensors'} is there."
    ]


def test_a_finished_run_hands_its_adapter_out_again(config: TrainConfig, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "adapter.safetensors").unlink()
    list(training(replace(config, out=out, steps_paint=3, temperature_paint=0.0, mirrored_paint=True)))
    passport = read_passport(out / "adapter.safetensors")
    assert (passport.steps_paint, passport.temperature_paint, passport.mirrored_paint) == (3, 0.0, True)
    again, before = (load_file(folder / "adapter.safetensors") for folder in (out, whole))
    assert again.keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in again.items())


def test_another_run_is_not_gone_on_with(config: TrainConfig, whole: Path) -> None:
    with pytest.raises(UserError, match="of a run with another lr; give another --out"):
        list(train(replace(config, out=whole, lr=3e-4)))


def test_a_refused_run_leaves_the_folder_to_others(config: TrainConfig, whole: Path) -> None:
    with pytest.raises(UserError, match="another lr") as refusal:
        list(train(replace(config, out=whole, lr=3e-4)))
    assert [record for record in training(replace(config, out=whole)) if isinstance(record, Note)]
    assert refusal.value.__traceback__ is not None, "it still holds the run that was refused"


def test_another_prompt_is_not_gone_on_with(config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    text = "from anyrefill.tasks import Task\ntask = Task(name='mine', summary='any', prompt='{}')\n"
    path.write_text(text.format("one way"))
    run = replace(config, task=str(path), out=tmp_path / "run")
    close_after(run, 2)
    path.write_text(text.format("another"))
    with pytest.raises(UserError, match="of a run with another base, prompt or mask; give another --out"):
        list(train(run))
    path.write_text(text.format("one way"))
    finished(run)


def test_a_run_goes_on_where_encodings_have_other_names(
    config: TrainConfig, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(config, out=tmp_path)
    close_after(run, 2)
    monkeypatch.setattr(store, "VERSION", store.VERSION + 1)  # as on another device, or with another torch
    assert same(finished(run), load_file(whole / "adapter.safetensors"))


def test_moved_pairs_are_the_same_pairs(config: TrainConfig, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(config.pairs, tmp_path / "moved")
    out = tmp_path / "run"
    close_after(replace(config, out=out), 2)
    weights = finished(replace(config, out=out, pairs=tmp_path / "moved"))
    assert same(weights, load_file(whole / "adapter.safetensors"))


def test_two_processes_do_not_train_into_one_folder(config: TrainConfig, tmp_path: Path) -> None:
    first = training(replace(config, out=tmp_path))
    for record in first:
        if isinstance(record, Step):
            break
    with pytest.raises(UserError, match="Another process is training into"):
        list(train(replace(config, out=tmp_path)))
    first.close()
    assert list(train(replace(config, out=tmp_path)))[-1].step == 4


def test_a_run_needs_a_folder(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"Cannot train into .*file: it is no folder\."):
        list(train(replace(config, out=tmp_path / "file")))
    with pytest.raises(UserError, match=r"Cannot train into .*run: Not a directory\."):
        list(train(replace(config, out=tmp_path / "file" / "run")))
    assert (tmp_path / "file").read_text() == "mine"


def test_parts_of_a_batch_add_up(config: TrainConfig, whole: Path, tmp_path: Path) -> None:
    parts = finished(replace(config, out=tmp_path, accumulate=2))
    for name, weight in load_file(whole / "adapter.safetensors").items():
        torch.testing.assert_close(parts[name], weight, atol=1e-5, rtol=1e-3)
    assert not same(parts, {name: torch.zeros_like(weight) for name, weight in parts.items()})


@pytest.mark.parametrize("region", ["whole", "painted"])
def test_the_loss_falls(config: TrainConfig, tmp_path: Path, region: str) -> None:
    many = replace(config, out=tmp_path, steps=50, batch=8, rank=8, lr=1e-2, region=region, save_every=60)
    many = replace(many, logit_mean=0.0, logit_std=1.0)
    losses = [step.loss for step in train(many)]
    assert sum(losses[-10:]) < 0.97 * sum(losses[:10])


def test_a_clean_prefix_is_trained_with_shared_draws(config: TrainConfig, tmp_path: Path) -> None:
    shared = replace(config, out=tmp_path, attention="clean_ref", batch=4, draws=2, steps=2)
    losses = [step.loss for step in train(shared)]
    parts = [step.loss for step in train(replace(shared, out=tmp_path / "parts", accumulate=2))]
    assert losses == pytest.approx(parts, rel=1e-5)
    assert read_passport(tmp_path / "adapter.safetensors").attention == "clean_ref"


def test_bfloat16_trains_too(config: TrainConfig, tmp_path: Path) -> None:
    steps = list(train(replace(config, out=tmp_path, dtype="bfloat16")))
    assert [step.step for step in steps] == [1, 2, 3, 4]
    assert all(math.isfinite(step.loss) for step in steps)


def test_held_out_pairs_are_looked_at(config: TrainConfig, tmp_path: Path) -> None:
    looking = replace(config, out=tmp_path, validate="1", validate_every=2, samples=1, ema=0.5)
    losses = [step.validation for step in train(looking)]
    assert [loss is None for loss in losses] == [True, False, True, False]
    assert read_passport(tmp_path / "adapter.safetensors").pairs == 3
    assert read_passport(tmp_path / "best.safetensors").steps in (2, 4)
    with Image.open(tmp_path / "samples" / "0000004.png") as sheet:
        assert sheet.size == (4 + 3 * 68, 4 + 68 + 20)
    with Image.open(tmp_path / "curve.png") as picture:
        assert len(picture.getcolors(1 << 20) or []) > 3


@pytest.mark.parametrize("count", ["1", "2"])
def test_held_out_pairs_that_share_a_picture_are_told(config: TrainConfig, tmp_path: Path, count: str) -> None:
    """The second but last pair has a target that is trained on, the last one's mask alone is that of others."""
    mask = torch.ones(1, 64, 64)
    panels = [random_panel(64, 64, seed) for seed in range(6)]
    made = [Pair(reference=panels[one], target=panels[two], mask=mask) for one, two in ((0, 1), (2, 0), (4, 5))]
    write_pairs(made, tmp_path / "pairs")
    run = replace(config, pairs=tmp_path / "pairs", out=tmp_path, validate=count, samples=0, steps=1)
    told = [record.text for record in training(run) if isinstance(record, Note)]
    sentence = (
        "1 of 2 held-out pairs share a picture with pairs that are trained on: their loss tells little about new "
        "pictures."
    )
    assert told == ([sentence] if count == "2" else [])


def test_held_out_pairs_are_judged_as_the_run_trains(config: TrainConfig, tmp_path: Path) -> None:
    run = prepared(replace(config, out=tmp_path, validate="2", samples=0))
    predict = run.learner.predict

    def loss(quiet: float) -> float:
        return validation_loss(run.looks, replace(run.config, quiet=quiet), predict, run.learner.channels)

    (look,) = run.looks
    batch = look.batch([0, 1], [False, False], torch.ones(2), torch.Generator())
    guess = predict(torch.zeros_like(batch.clean), batch.sigma, batch).detach()
    silent = float((guess + batch.clean)[:, batch.fill[0, :, -1] == 1].pow(2).mean())
    assert loss(1.0) == pytest.approx(silent, rel=1e-5)
    assert loss(0.25) == pytest.approx(0.75 * loss(0.0) + 0.25 * silent, rel=1e-5)
    assert abs(loss(0.0) - silent) > 0.1


@pytest.mark.parametrize(
    "asked",
    [
        {"guidance": 30.0},  # of training, where the base is painted with 1
        {"steps_paint": 2, "temperature_paint": 0.5},
        {"steps_paint": 3, "reference_guidance_paint": 2.0},
        {"steps_paint": 2, "temperature_paint": 0.0, "mirrored_paint": True},
        {"steps_paint": 2, "attention": "clean_ref", "reference_guidance_paint": 1.5},
    ],
)
def test_samples_are_painted_as_the_adapter_asks(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, object]
) -> None:
    sheets: list[list[list[torch.Tensor]]] = []
    monkeypatch.setattr(
        validate.images, "contact_sheet", lambda rows, _names: sheets.append(rows) or Image.new("L", (1, 1))
    )
    run = replace(config, out=tmp_path, validate="1", samples=1, lr=0.1, **asked)
    finished(run)
    ((reference, painted, target),) = sheets[-1]
    paint = anyrefill.load("deblur", backbone=config.backbone, adapter=tmp_path)
    pair = Pair(reference=reference, target=target, caption="p 3")
    (wanted,) = paint.batch([pair], seed=0)  # whose noise is that of the first sample
    torch.testing.assert_close(painted, wanted, atol=2e-3, rtol=0)


def test_the_adapter_carries_its_passport_and_loads(config: TrainConfig, whole: Path) -> None:
    passport = read_passport(whole / "adapter.safetensors")
    assert (passport.task, passport.rank, passport.steps, passport.pairs) == ("deblur", 2, 4, 4)
    assert (passport.height, passport.width, passport.density) == (64, 128, "logit-normal(1.5, 1.5)")
    assert len(passport.manifest) == 64
    load_adapter(whole / "adapter.safetensors", FluxFill.load(config.backbone))


def test_a_loss_that_is_not_finite_stops_the_run(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"The (loss|gradients' norm) is (nan|inf) at step"):
        list(train(replace(config, out=tmp_path, lr=1e30, steps=40, warmup=1, save_every=100)))
    assert not (tmp_path / "adapter.safetensors").exists()
    report = json.loads((tmp_path / "not-finite.json").read_text())
    assert len(report["rows"]) == len(report["sigma"]) == 2
    assert any("lora_A" in name and not name.endswith("gradient") for name in report["norms"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": 0}, "--steps must be at least 1, not 0"),
        ({"rank": 0}, "--rank must be at least 1, not 0"),
        ({"lr": 0.0}, "--lr must be above 0"),
        ({"seed": -1}, "--seed must be at least 0 and at most 1099511627776, not -1"),
        ({"ema": 1.0}, "--ema must be at least 0 and below 1"),
        ({"task": "dept"}, "There is no task 'dept'"),
        ({"targets": "most"}, "no list of LoRA targets 'most'"),
        ({"start_from": "no-such-adapter"}, "no-such-adapter"),
        ({"draws": 3}, "--batch 2 must be a multiple of --draws 3"),
        ({"attention": "clean_ref", "region": "whole"}, "needs --region painted"),
        ({"mirrored_paint": True}, "--mirrored-paint takes --temperature-paint 0"),
        ({"attention": "clean_ref", "checkpointing": True}, "--checkpointing works with --attention full alone"),
        ({"attention": "clean_ref", "compile": True}, "--compile works with --attention full alone"),
        ({"alpha": 0.0}, "--alpha must be above 0, not 0.0"),
        ({"tokens": 5}, "--tokens are those of --kind prompt"),
        ({"min_epochs": float("nan")}, "--min-epochs must be 0 or more, not nan"),
        ({"min_epochs": float("inf")}, "--min-epochs must be 0 or more, not inf"),
        ({"warmup": -1}, "--warmup must be 0 or more, not -1"),
        ({"samples": -1}, "--samples must be 0 or more, not -1"),
        ({"guidance": float("nan")}, "--guidance must be 0 or more, not nan"),
        ({"lr": float("inf")}, "--lr must be a finite number, not inf"),
        ({"logit_mean": float("nan")}, "--logit-mean must be a finite number, not nan"),
        ({"validate": "4"}, "--validate 4 is not possible: .* lists 4 pairs"),
        ({"optimizer": "adamw8bit"}, "needs bitsandbytes: pip install bitsandbytes"),
        ({"track": "tensorboard"}, "needs tensorboard: pip install tensorboard"),
        ({"track": "wandb"}, "needs wandb: pip install wandb"),
    ],
)
def test_wrong_settings_are_one_sentence(
    config: TrainConfig, change: dict[str, object], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyrefill.train.config.find_spec", lambda _name: None)  # as if no optional package were there
    with pytest.raises(UserError, match=sentence):
        next(training(replace(config, out=tmp_path, **change)))  # before anything is encoded


def test_the_second_run_encodes_nothing(config: TrainConfig, whole: Path, tmp_path: Path) -> None:
    files = {path: path.stat().st_mtime_ns for path in config.cache.rglob("*.safetensors")}
    records = [record for record in training(replace(config, out=tmp_path)) if isinstance(record, Cached)]
    assert (records[-1].done, records[-1].total) == (9, 9)
    assert {path: path.stat().st_mtime_ns for path in config.cache.rglob("*.safetensors")} == files
    assert whole.exists()


def test_the_rate_warms_up_and_falls() -> None:
    rates = [rate(step, 100, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.05, abs=0.01)


def test_every_epoch_shows_every_pair_once() -> None:
    rows = _rows(7, seed=3, first=0, count=21)
    assert [sorted(rows[start : start + 7]) for start in (0, 7, 14)] == [list(range(7))] * 3
    assert rows[:7] != rows[7:14]
    assert rows == [row for start in range(0, 21, 3) for row in _rows(7, seed=3, first=start, count=3)]


def test_an_adapter_of_two_references(config: TrainConfig, tmp_path: Path) -> None:
    """The second lies on the canvas in training, counts, and is asked for when painting."""
    folders: list[Path] = []
    for name, places in (("two", (0, 1)), ("other", (0, 2)), ("one", (0,))):
        references = [tuple(random_panel(64, 64, 10 * seed + place) for place in places) for seed in range(4)]
        made = [Pair(reference=first, target=-first, more=tuple(more)) for first, *more in references]
        write_pairs(made, tmp_path / name)
        folders.append(tmp_path / name)
    two, other, one = (replace(config, pairs=folder, out=tmp_path / f"run-{folder.name}") for folder in folders)
    trained = finished(replace(two, validate="1", samples=1, validate_every=4))
    assert not same(trained, finished(replace(two, pairs=other.pairs, out=other.out, validate="1")))
    passport = read_passport(two.out / "adapter.safetensors")
    assert (passport.references, passport.width, passport.height) == (2, 192, 64)
    with Image.open(two.out / "samples" / "0000004.png") as sheet:
        assert sheet.width > 4 * 64
    paint = anyrefill.load("deblur", backbone=config.backbone, adapter=two.out)
    photo = images.to_pil(random_panel(64, 64, 1))
    assert paint.size == (64, 64)
    assert paint.prepare(photo, more=[photo]).notes == ()
    assert paint.prepare(photo).notes == (
        "What paints was trained with 2 references, not with 1: expect worse pictures.",
    )
    with pytest.raises(UserError, match="two has 2 references a pair and .*one has 1"):
        finished(replace(two, validate=str(one.pairs), out=tmp_path / "never"))


def test_epochs_can_ask_for_more_steps(config: TrainConfig) -> None:
    assert steps_of(replace(config, min_epochs=5.0), pairs=[4]) == 10
    assert steps_of(replace(config, min_epochs=1.0), pairs=[4]) == 4


def test_held_out_levels_are_quantiles_of_the_density(config: TrainConfig) -> None:
    assert sigma_at(0.5, config, tokens=32) == pytest.approx(1 / (1 + math.exp(-1.5)))
    assert sigma_at(0.25, replace(config, density="uniform"), tokens=32) == 0.25
    below = 1 / (1 + math.exp(-(1.5 - 1.5)))  # one deviation below the mean
    assert sigma_at(0.158655, config, tokens=32) == pytest.approx(below, abs=1e-4)


def test_the_average_lags_behind() -> None:
    masters = Masters([torch.nn.Parameter(torch.zeros(2))], torch.float32, decay=0.9)
    masters.values[0].data.fill_(1.0)
    masters.move_average(step=1000)
    assert masters.average[0].tolist() == pytest.approx([0.1, 0.1])
    with masters.shown():
        assert masters.parameters[0].tolist() == pytest.approx([0.1, 0.1])
    assert masters.parameters[0].tolist() == [1.0, 1.0]


def test_the_curve_shows_the_loss_falling() -> None:
    entries = [Entry(step=step, loss=1 / step, norm=1.0, rate=1.0, seconds=1.0) for step in range(1, 50)]
    pixels = curve(entries).load()
    blue = [(x, y) for x in range(46, 674) for y in range(46, 354) if pixels[x, y] == (90, 130, 200)]
    assert min(blue)[1] < max(blue)[1], "high on the left, low on the right"


def test_the_adapter_is_readable_by_others(whole: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    assert (whole / "adapter.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask


def test_tensorboard_shows_what_the_log_says(config: TrainConfig, tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    losses = [step.loss for step in train(replace(config, out=tmp_path, track="tensorboard", validate="1"))]
    events = reading.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [
        (step, pytest.approx(loss)) for step, loss in enumerate(losses, start=1)
    ]
    assert [event.step for event in events.Scalars("validation")] == [4]


def test_wandb_is_told_what_the_log_says(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    *_, last = train(replace(config, out=tmp_path / "run", track="wandb"))
    (written,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert last.adapter is not None
    assert b"validate_every" in written.read_bytes()
    assert b"seconds" in written.read_bytes()


def test_trackio_is_told_what_the_log_says(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    pytest.importorskip("trackio")
    losses = [step.loss for step in train(replace(config, out=tmp_path / "run", track="trackio"))]
    with closing(sqlite3.connect(tmp_path / "anyrefill.db")) as kept:
        told = kept.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall()
    assert [(step, json.loads(metrics)["loss"]) for step, metrics in told] == [
        (step, pytest.approx(loss)) for step, loss in enumerate(losses, start=1)
    ]


def prepared(config: TrainConfig) -> _Run:
    """Return a run before its first step."""
    found: list[_Run] = []

    def parts() -> Iterator[Cached]:
        found.append((yield from _prepare(config)))

    list(parts())
    return found[0]


def test_some_samples_are_trained_without_noise(config: TrainConfig, tmp_path: Path) -> None:
    caches = prepared(replace(config, out=tmp_path)).caches
    loud, quiet = (draw(caches, replace(config, batch=64, quiet=share), 3) for share in (0.0, 0.5))
    silent = quiet.noise.flatten(1).abs().sum(1) == 0
    assert 16 < int(silent.sum()) < 48
    assert torch.equal(quiet.noise[~silent], loud.noise[~silent])
    assert loud.noise.flatten(1).abs().sum(1).min() > 0
    assert torch.equal(quiet.sigma[~silent], loud.sigma[~silent])
    assert bool((quiet.sigma[silent] == 1).all()), "what is to be painted must not shine through"


def test_the_type_of_numbers_is_settled_when_the_run_is(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    for fast, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(precision, "multiplies_bfloat16", lambda fast=fast: fast)
        assert replace(config, dtype="auto").dtype == expected
        assert replace(config, dtype="auto", device="cuda").dtype == "bfloat16"
    assert replace(config, dtype="bfloat16").dtype == "bfloat16"
