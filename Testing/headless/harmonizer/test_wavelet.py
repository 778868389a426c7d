from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from twintrack.harmonizer.wavelet import haar, inverse_haar  # noqa: E402


@pytest.mark.parametrize("size", [(8, 6), (7, 6), (5, 9), (1, 1)])
def test_the_way_back_gives_the_maps(size):
    maps = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    low, high = haar(maps)
    assert low.shape == (2, 3, -(-size[0] // 2), -(-size[1] // 2))
    assert high.shape == (2, 9, *low.shape[2:])
    torch.testing.assert_close(inverse_haar(low, high, size), maps, rtol=0, atol=1e-6)


def test_the_sum_of_squares_stays():
    maps = torch.randn(2, 3, 8, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    low, high = haar(maps)
    torch.testing.assert_close((low**2).sum() + (high**2).sum(), (maps**2).sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_a_constant_has_no_high_bands(size):
    low, high = haar(torch.full((1, 2, *size), 3.0))
    assert torch.equal(high, torch.zeros_like(high))
    assert torch.equal(low, torch.full_like(low, 6.0))


def test_each_high_band_has_its_direction():
    stripes = torch.zeros(1, 1, 4, 4)
    stripes[..., ::2] = 1.0  # differences along x alone
    _, high = haar(stripes)
    assert [bool(band.any()) for band in high[0]] == [True, False, False]
    _, high = haar(stripes.transpose(2, 3))
    assert [bool(band.any()) for band in high[0]] == [False, True, False]
