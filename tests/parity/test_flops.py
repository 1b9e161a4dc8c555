"""The costs at FLUX.1-Fill's full size, counted on tensors without storage, against the goals."""

import pytest

from anyrefill.bench import flops

TERA = 1e12


@pytest.fixture(scope="module")
def costs() -> dict[str, flops.Cost]:
    return {cost.name: cost for cost in flops.painting()}


def test_a_plain_step(costs: dict[str, flops.Cost]) -> None:
    """By hand: 12.91 GFLOP a token and 4 * 3072 * 57 FLOP for each pair of tokens."""
    tokens = 2048 + 512
    expected = tokens * 2 * 57 * 12 * 3072**2 + 4 * 3072 * 57 * tokens**2
    assert costs["plain diffusers"].step == pytest.approx(expected, rel=2e-3)


def test_a_clean_prefix_saves_what_it_promises(costs: dict[str, flops.Cost]) -> None:
    assert costs["clean_ref_text"].step <= 15.1 * TERA
    assert costs["clean_ref_text"].gain >= 2.4
    assert costs["clean_ref, 128 prompt tokens"].gain >= 2.2


def test_known_parts_of_the_target_save_more(costs: dict[str, flops.Cost]) -> None:
    clean = costs["clean_ref_text"].gain
    assert costs["clean_ref_text, half of the target known"].gain >= 1.8 * clean
    assert costs["clean_ref_text, 3/4 of the target known"].gain >= 3 * clean


def test_draws_that_share_a_prefix_train_cheaper() -> None:
    plain, shared = flops.training(draws=4)
    assert plain.gain == 1
    assert shared.gain >= 2.6
