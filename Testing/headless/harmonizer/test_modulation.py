from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from twintrack.harmonizer.modulation import Modulation, NoiseHarmonizer  # noqa: E402


def test_features_stay_as_they_are_at_the_start_bit_for_bit():
    torch.manual_seed(0)
    harmonizer = NoiseHarmonizer((4, 8), tokens=3, token_width=5, hidden=7)
    for level, channels in enumerate((4, 8)):
        features = torch.randn(2, channels, 6, 5)
        modulation = harmonizer(features, level)
        assert torch.equal(modulation(features), features)
        assert float(modulation.penalty().detach()) == 0.0


def test_a_gain_and_an_offset_are_undone_by_the_matching_ones():
    features = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gain, offset = torch.tensor([[2.0, 0.5, 4.0]] * 2), torch.tensor([[1.0, -3.0, 0.25]] * 2)
    spoiled = features * gain[:, :, None, None] + offset[:, :, None, None]
    undone = Modulation(1 / gain, -offset / gain)
    torch.testing.assert_close(undone(spoiled), features, rtol=1e-12, atol=1e-12)


def test_the_penalty_is_a_sum_over_channels_and_a_mean_over_the_batch():
    modulation = Modulation(torch.tensor([[1.0, 3.0], [1.0, 1.0]]), torch.tensor([[0.0, 1.0], [2.0, 2.0]]))
    assert float(modulation.penalty()) == pytest.approx(((2**2 + 1**2) + (2**2 + 2**2)) / 2)


def test_tokens_and_first_layer_are_shared_by_the_levels():
    torch.manual_seed(0)
    harmonizer = NoiseHarmonizer((4, 4), tokens=3, token_width=5, hidden=7)
    with torch.no_grad():
        for layers in (harmonizer.enter, harmonizer.leave):
            torch.nn.init.normal_(layers[0].weight)
            layers[1].load_state_dict(layers[0].state_dict())
        features = torch.randn(1, 4, 6, 5)
        first, second = harmonizer(features, 0), harmonizer(features, 1)
        assert torch.equal(first.gain, second.gain)
        assert not torch.equal(first.gain, torch.ones(1, 4))
        harmonizer.tokens.add_(1.0)
        assert not torch.equal(harmonizer(features, 0).gain, first.gain)
