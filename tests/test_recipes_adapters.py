"""The recipe of the shipped adapters, and what its long runs share."""

import sys
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit

import pytest
import torch
from recipes.micro import adapters
from recipes.micro.run import load_state, save_state

from anyrefill.backbone.adapters.header import PASSPORT_KEY, write_tensors
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.errors import UserError

GONE_ON = dict(task="deblur", base="micro", fingerprint="", rank=16, alpha=16, steps_before=100)
"""What a run of the recipe that went on says of itself."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for runs, pairs and what ships, none of which is the user's own."""
    for name, place in (("RUNS", "runs"), ("ASSETS", "assets")):
        monkeypatch.setattr(adapters, name, tmp_path / place)
    monkeypatch.setattr(adapters, "subset", lambda _folder, _count: tmp_path)
    monkeypatch.setattr(adapters, "goes_on", lambda _name, _rank: True)
    return tmp_path


@pytest.mark.parametrize(("steps", "trains"), [(250, []), (251, ["deblur"])])
def test_going_on_again_after_the_run_has_ended_trains_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], steps: int, trains: list[str]
) -> None:
    """The adapter that ships is the run's own by now: beginning with it would count its steps twice."""
    adapter, trained = home / "runs" / "deblur" / "adapter.safetensors", list[str]()
    passport = Passport(**GONE_ON, targets=("to_q",), steps=250)
    write_tensors(adapter, {"a": torch.ones(1)}, {PASSPORT_KEY: passport.to_json()})
    monkeypatch.setattr(adapters, "trained", lambda name, *_: trained.append(name) or adapter)
    monkeypatch.setattr(sys, "argv", ["adapters", "--task", "deblur", "--go-on", "--steps", str(steps)])
    adapters.main()
    assert trained == trains
    assert (f"Remove {adapter.parent} to go on" in capsys.readouterr().out) == (not trains)
    assert (home / "assets" / "adapters" / "deblur.safetensors").exists() == bool(trains)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are Unix's")
def test_a_disk_that_is_full_at_a_state_is_told_and_the_last_one_stays(tmp_path: Path) -> None:
    module = torch.nn.Linear(200, 200)
    optimizer = torch.optim.AdamW(module.parameters())
    save_state(tmp_path, module, optimizer, 1)
    before = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (10**5, before[1]))
    try:
        with pytest.raises(UserError, match=r"Cannot write .*state.pt: File too large"):
            save_state(tmp_path, module, optimizer, 2)
    finally:
        setrlimit(RLIMIT_FSIZE, before)
    assert load_state(tmp_path, module, optimizer) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
