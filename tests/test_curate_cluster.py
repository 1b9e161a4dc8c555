"""Curation on a Ray cluster: the same bytes as without, whatever becomes of a worker."""

import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anyrefill import UserError, cli, curate, tasks
from anyrefill.curate import cluster

TASK = '''
"""A task whose first worker is killed amid its work, once."""

import os
import signal
from dataclasses import replace
from pathlib import Path

from anyrefill import tasks

MARK = Path({mark!r})


def make(photo, generator):
    if photo.caption == "fatal" and not MARK.exists():
        MARK.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return tasks.get("deblur").make(photo, generator)


task = replace(tasks.get("deblur"), make=make)
'''


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Return nine photographs, one of them too small, one fatal to its worker."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(9):
        side = 16 if number == 4 else 48
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "5.txt").write_text("fatal")
    return folder


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start a cluster of two nodes with one processor each."""
    ray = pytest.importorskip("ray", reason="the extra [ray] is not installed")
    pytest.importorskip("ray.data", reason="the extra [ray] is not installed")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 by default, which starves on a busy machine
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    ray.init(nodes.address, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()
    nodes.shutdown()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_killed_worker_costs_no_pair_and_makes_no_duplicate(
    album: Path, tmp_path: Path, two_workers: None, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "killed"
    (tmp_path / "task.py").write_text(TASK.format(mark=str(mark)))
    words = ["curate", str(tmp_path / "task.py"), str(album), "--size", "32", "--batch", "2"]
    cli.main([*words, "--out", str(tmp_path / "far"), "--ray", "auto"])
    assert mark.exists(), "a worker was killed"
    cli.main([*words, "--out", str(tmp_path / "here")])
    assert contents(tmp_path / "far") == contents(tmp_path / "here")
    assert capsys.readouterr().out.count("8 pairs of deblur") == 2

    with pytest.raises(SystemExit):
        cli.main([*words, "--out", str(tmp_path / "none"), "--ray", "auto", "--foreground", "sam"])
    assert "--foreground must be u2netp" in capsys.readouterr().err, "a mistake that only a worker sees is told"


def of_deblur() -> "cluster.Curation[curate.Source]":
    """Return what a worker does."""
    return partial(curate.from_photos, tasks.get("deblur"), side=32)


Rows = list[dict[str, Any]]


@pytest.fixture
def returning(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Rows], Rows]], None]:
    """Put a cluster in Ray's place that works in this process, and spoils what it returns."""

    def install(spoil: Callable[[Rows], Rows]) -> None:
        def rows(_ray: object, batches: Sequence[object], prepare: Callable[[], Any], _gpus: int) -> Iterator[Any]:
            given = [{"number": n, "candidates": pickle.dumps(one)} for n, one in enumerate(batches)]
            yield from spoil([cluster._curate(pickle.dumps(prepare), row) for row in given])

        monkeypatch.setattr(cluster, "_rows", rows)
        monkeypatch.setattr(cluster, "_cluster", lambda _address: nullcontext())

    return install


def test_outcomes_come_in_order_and_count_on(album: Path, returning: Callable[..., None]) -> None:
    returning(lambda rows: rows)
    photos = curate.find_photos(album)
    far, here = list(cluster.on_ray("x", photos, of_deblur, batch=4)), list(of_deblur()(photos))
    assert [(one.name, one.done, one.total, one.seed) for one in far] == [
        (one.name, one.done, one.total, one.seed) for one in here
    ]
    for one, other in zip(far, here, strict=True):
        assert (one.pair is None) == (other.pair is None)
        assert one.pair is None or bool((one.pair.reference == other.pair.reference).all())


@pytest.mark.parametrize(
    "spoil",
    [lambda rows: rows[:-1], lambda rows: [rows[0], *rows], lambda rows: [*rows, rows[-1]], lambda rows: rows[::-1]],
    ids=["one is lost", "the first comes twice", "the last comes twice", "the order is another"],
)
def test_what_a_cluster_loses_or_doubles_is_no_curation(
    album: Path, returning: Callable[..., None], spoil: Callable[[Rows], Rows]
) -> None:
    returning(spoil)
    with pytest.raises(RuntimeError, match="Ray returned"):
        list(cluster.on_ray("x", curate.find_photos(album), of_deblur, batch=4))


def test_without_ray_a_sentence_says_how_to_get_it(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"--ray needs Ray: pip install 'anyrefill\[ray\]'"):
        list(cluster.on_ray("local", curate.find_photos(album), of_deblur))


def of_nothing() -> "cluster.Curation[curate.Source]":
    """Be a worker that lacks what it needs."""
    raise UserError("There is no weight file.")


def test_a_worker_s_mistake_is_the_command_s(album: Path, returning: Callable[..., None]) -> None:
    returning(lambda rows: rows)
    with pytest.raises(UserError, match="There is no weight file"):
        list(cluster.on_ray("x", curate.find_photos(album), of_nothing))


def test_nobody_at_the_address_is_told_at_once(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: name)
    monkeypatch.setattr(cluster, "import_module", lambda _name: SimpleNamespace(is_initialized=lambda: False))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"  # bound, and nobody listens
        with pytest.raises(UserError, match=f"There is no Ray cluster at {address}: .*refused"):
            list(cluster.on_ray(address, curate.find_photos(album), of_deblur))
