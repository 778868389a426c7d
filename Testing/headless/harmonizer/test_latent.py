from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from twintrack.harmonizer.latent import LOG_STD, Combiner, Gaussian, GaussianEncoder, divergence  # noqa: E402


def gaussian(mean: list[float], std: list[float]) -> Gaussian:
    return Gaussian(torch.tensor([mean], dtype=torch.float64), torch.tensor([std], dtype=torch.float64))


def test_a_distribution_does_not_diverge_from_itself():
    one = gaussian([0.3, -2.0], [0.5, 3.0])
    assert float(divergence(one, one)) == 0.0


def test_the_divergence_is_the_mean_difference_of_log_densities():
    one, other = gaussian([0.5, -1.0], [0.7, 1.5]), gaussian([-0.2, 0.4], [1.2, 0.9])
    noise = torch.randn(1_000_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    codes = one.sample(noise)[0]

    def log_density(at: Gaussian) -> torch.Tensor:
        return torch.distributions.Normal(at.mean[0], at.std[0]).log_prob(codes).sum(1)

    apart = log_density(one) - log_density(other)
    error = float(apart.std()) / math.sqrt(len(apart))
    assert float(divergence(one, other)) == pytest.approx(float(apart.mean()), abs=4 * error)


def test_a_volume_has_the_mean_of_its_slices():
    slices = Gaussian(torch.tensor([[0.0], [2.0], [5.0], [7.0]]), torch.tensor([[1.0], [3.0], [2.0], [2.0]]))
    volumes = slices.over_slices(2)
    assert volumes.mean.tolist() == [[1.0], [6.0]]
    assert volumes.std.tolist() == [[2.0], [2.0]]


def test_a_code_counts_as_if_it_were_copied_to_every_pixel():
    torch.manual_seed(0)
    combine = Combiner(3, 2, 5)
    features, codes = torch.randn(2, 3, 4, 6), torch.randn(2, 7, 2)
    first = torch.nn.Conv2d(5, 5, 1)
    with torch.no_grad():
        first.weight[:, :3] = combine.of_features.weight
        first.weight[:, 3:] = combine.of_code.weight[:, :, None, None]
        first.bias.copy_(combine.of_features.bias)
        for sample in range(7):
            copied = torch.cat([features, codes[:, sample, :, None, None].expand(-1, -1, 4, 6)], dim=1)
            hidden = torch.nn.functional.leaky_relu(first(copied), 0.01)
            expected = combine.third(torch.nn.functional.leaky_relu(combine.second(hidden), 0.01))[:, 0]
            torch.testing.assert_close(combine(features, codes)[:, sample], expected, rtol=1e-5, atol=1e-6)


def test_prior_and_posterior_begin_as_one_and_their_scale_stays_bounded_with_a_gradient():
    torch.manual_seed(0)
    prior, posterior = GaussianEncoder(1, (4, 8), 3), GaussianEncoder(2, (4, 8), 3)
    first, second = prior(torch.randn(2, 1, 16, 16)), posterior(torch.randn(2, 2, 16, 16))
    for one in (first, second):
        assert not one.mean.any()
        assert (one.std == 1).all()
    assert divergence(first, second).tolist() == [0.0, 0.0]
    with torch.no_grad():
        prior.last.bias[3:] = torch.tensor([2.0, -2.0, 50.0])
    std = prior(torch.randn(1, 1, 16, 16)).std[0]
    large, small, largest = std.tolist()
    assert math.exp(-LOG_STD) < small < 1 < large < largest <= math.exp(LOG_STD) + 1e-6
    std[:2].sum().backward()
    assert (prior.last.bias.grad[3:5] > 0).all()
