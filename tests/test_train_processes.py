"""Training as real processes: killed, interrupted, several together."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest
import torch
from benchmarks import kills
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

ABORTED = "terminate called without an active exception"
"""What torch's threads say where they are left when a process that is done ends: one in 25 runs of FSDP on a CPU. The
run is finished by then, so that the same command hands its adapter out."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    kills.prepare(folder)
    return folder


@pytest.fixture(scope="module")
def whole(desk: Path) -> dict[str, torch.Tensor]:
    return kills.finished(desk, "whole")


@pytest.fixture
def port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_killed_with_sigkill_ends_with_the_same_weights(
    desk: Path, whole: dict[str, torch.Tensor], seed: int
) -> None:
    assert kills.kill_once(desk, f"killed{seed}", random.Random(seed), whole).equal


def test_ctrl_c_saves_and_says_how_to_go_on(desk: Path, whole: dict[str, torch.Tensor]) -> None:
    process = kills.start(desk, "stopped")
    while kills.progress(desk, "stopped") < 4:
        sleep(0.002)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    said = (desk / "stopped.txt").read_text().splitlines()[-1]
    step = len(losses(desk / "stopped"))
    assert said == f"Stopped after step {step} of 30, which is saved: the same command goes on."
    assert (desk / "stopped" / "checkpoints" / f"state-{step:07}.pt").exists()
    again = kills.finished(desk, "stopped")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_two_processes_train_as_one_does(desk: Path, whole: dict[str, torch.Tensor], port: str) -> None:
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [kills.start(desk, "two", environment={**place, "RANK": rank}) for rank in "01"]
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0, 0]
    assert losses(desk / "two") == pytest.approx(losses(desk / "whole"), rel=1e-4)
    for name, weight in load_file(desk / "two" / "adapter.safetensors").items():
        torch.testing.assert_close(weight, whole[name], atol=1e-4, rtol=1e-2)


def test_two_processes_that_share_the_base_train_as_one_does(desk: Path, port: str) -> None:
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_FSDP": "true"}
    brief = "--steps 4 --validate-every 3"
    ranks = [kills.start(desk, "shared", f"{brief} --checkpointing", {**place, "RANK": rank}) for rank in "01"]
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0, 0], (desk / "shared.txt").read_text()
    alone = kills.finished(desk, "alone", brief)
    assert losses(desk / "shared") == pytest.approx(losses(desk / "alone"), rel=1e-4)
    for name, weight in load_file(desk / "shared" / "adapter.safetensors").items():
        torch.testing.assert_close(weight, alone[name], atol=1e-4, rtol=1e-2)


def test_parts_and_checkpointing_change_rounding_alone(desk: Path, whole: dict[str, torch.Tensor]) -> None:
    again = kills.finished(desk, "parts", "--accumulate 2 --checkpointing")
    assert losses(desk / "parts") == pytest.approx(losses(desk / "whole"), rel=1e-4)
    assert again.keys() == whole.keys()


@pytest.mark.parametrize(
    "how", ["--cpu --num_processes 1", "--use_fsdp --num_processes 2 --num_machines 1 --mixed_precision no"]
)
def test_accelerate_starts_it(desk: Path, tmp_path: Path, how: str) -> None:
    words = (
        f"train deblur {desk}/pairs --out {tmp_path}/run --cache {desk}/c --backbone {desk}/base --batch 2 --steps 1"
    )
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *how.split(), "-m", "anyrefill"]
    done = subprocess.run([*launcher, *words.split()], capture_output=True, text=True, check=False)
    if ABORTED in done.stderr and (tmp_path / "run" / "adapter.safetensors").is_file():
        done = subprocess.run([*launcher, *words.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{tmp_path}/run/adapter.safetensors\n"), "the first process alone says where it is"
