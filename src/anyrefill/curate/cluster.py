"""A curation on many machines: batches of candidates go through a Ray Data pipeline, outcomes come back in order.

A batch is one row of a dataset, done whole by one worker, and kept only once it is done. When a worker dies, Ray gives
its batch to another one, so no candidate is lost and none counts twice; the numbers that come back are checked. Every
candidate has a seed of its own and annotators see the same batches, so the pairs are those of a run without Ray.

Ray passes everything as pickles, and so do we: whoever is in the cluster is trusted.
"""

import logging
import pickle
import socket
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from itertools import zip_longest
from typing import Any, TypeVar

from anyrefill.curate.outcome import Outcome
from anyrefill.errors import UserError

__all__ = ["Curation", "on_ray"]

Candidate = TypeVar("Candidate")
"""A photograph, two views, or a pair that somebody listed."""

Curation = Callable[[Sequence[Candidate]], Iterable[Outcome]]
"""Yields what becomes of each candidate, in order."""


def on_ray(
    address: str,
    candidates: Sequence[Candidate],
    prepare: Callable[[], Curation[Candidate]],
    *,
    batch: int = 8,
    gpus: int = 0,
) -> Iterator[Outcome]:
    """Do a curation on a Ray cluster; yield what became of each candidate, in order.

    Args:
        address: of the cluster, as `ray.init` takes it: HOST:PORT, ``auto``, or ``local`` for one on this machine.
        candidates: their files must be at the same paths on every machine.
        prepare: loads what a worker needs, once for each worker.
        batch: candidates that a worker takes at once.
        gpus: that each worker takes for itself.

    Raises:
        UserError: Ray is missing, there is no cluster, or what `prepare` raises.
        RuntimeError: the cluster returned other batches than it was given.
    """
    batches = [list(candidates[start : start + batch]) for start in range(0, len(candidates), batch)]
    done = 0
    with _cluster(address) as ray:
        rows = zip_longest(batches, _rows(ray, batches, prepare, gpus))
        for number, (given, row) in enumerate(rows):
            outcomes: list[Outcome] | UserError = pickle.loads(row["outcomes"]) if row else []
            if isinstance(outcomes, UserError):
                raise outcomes
            if not given or not row or row["number"] != number or len(outcomes) != len(given):
                raise RuntimeError(f"Ray returned batch {row and row['number']} in place of {number}")
            for outcome in outcomes:
                done += 1
                yield replace(outcome, done=done, total=len(candidates))


def _rows(ray: Any, batches: Sequence[object], prepare: Callable[[], Any], gpus: int) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401
    """Yield the rows that come back, in order."""
    data = import_module("ray.data")
    logging.getLogger("ray.data").setLevel("ERROR")  # it tells of every stage
    context = data.DataContext.get_current()
    context.execution_options.preserve_order, context.enable_progress_bars = True, False
    given = [{"number": number, "candidates": pickle.dumps(one)} for number, one in enumerate(batches)]
    pipeline = data.from_items(given, override_num_blocks=len(given)).map(
        partial(_curate, ray.cloudpickle.dumps(prepare)), num_gpus=gpus or None, max_calls=0
    )
    yield from pipeline.iter_rows()


def _curate(prepare: bytes, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outcomes of a batch, or the user's mistake that it met; runs in a worker's process."""
    try:
        outcomes: object = list(_prepared(prepare)(pickle.loads(row["candidates"])))
    except UserError as error:  # as a value: of an exception Ray brings back only the text
        outcomes = error
    return {"number": row["number"], "outcomes": pickle.dumps(outcomes)}


@lru_cache(maxsize=1)
def _prepared(prepare: bytes) -> Curation[Any]:
    """Load what a worker needs, once for all its batches."""
    return pickle.loads(prepare)()


@contextmanager
def _cluster(address: str) -> Generator[Any, None, None]:
    """Join a cluster, or start one on this machine, and leave it in the end.

    Raises:
        UserError: Ray is missing, or there is no cluster.
    """
    if find_spec("ray") is None:
        raise UserError("--ray needs Ray: pip install 'anyrefill[ray]', on every machine of the cluster.")
    ray = import_module("ray")
    joined = ray.is_initialized()
    if not joined:
        try:
            _knock(address)
            ray.init(address, log_to_driver=False, logging_level="error")
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"There is no Ray cluster at {address}: {str(error).splitlines()[0]}.") from error
    try:
        yield ray
    finally:
        if not joined:
            ray.shutdown()


def _knock(address: str) -> None:
    """Refuse a HOST:PORT where nobody listens; Ray itself would try for minutes.

    Raises:
        OSError: nobody does.
    """
    host, _, port = address.rpartition(":")
    if port.isdecimal() and host and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()
