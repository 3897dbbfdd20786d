import numpy as np
import pytest

from geocsp.maps.principal import PrincipalColours


def by_svd(embedding):
    """The same components by the singular value decomposition."""
    centred = embedding - embedding.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:3]
    axes *= np.sign(axes[np.arange(3), np.abs(axes).argmax(axis=1)])[:, None]
    scores = centred @ axes.T
    low, high = np.percentile(scores, [2, 98], axis=0)
    return np.clip((scores - low) / (high - low), 0, 1)


def test_colours_are_those_of_the_singular_value_decomposition():
    generator = np.random.default_rng(0)
    embedding = generator.normal(size=(400, 12)) * np.linspace(5, 0.2, 12)
    colours = PrincipalColours.fit(embedding).of(embedding)
    np.testing.assert_allclose(colours, by_svd(embedding), atol=1e-9)


def test_new_embeddings_are_coloured_on_the_same_scale():
    generator = np.random.default_rng(0)
    embedding = generator.normal(size=(300, 6)) * np.arange(1, 7)
    principal = PrincipalColours.fit(embedding)
    np.testing.assert_array_equal(principal.of(embedding[:7]), principal.of(embedding)[:7])
    far = principal.of(1000 * embedding)
    assert far.min() == 0
    assert far.max() == 1


@pytest.mark.parametrize("size", [1, 2])
def test_few_numbers_leave_channels_dark(size):
    embedding = np.random.default_rng(0).normal(size=(100, size))
    colours = PrincipalColours.fit(embedding).of(embedding)
    assert colours.shape == (100, 3)
    assert (colours[:, :size].std(axis=0) > 0.1).all()
    assert (colours[:, size:] == 0).all()


def test_one_embedding_is_black():
    assert PrincipalColours.fit(np.ones((1, 5))).of(np.ones((1, 5))).tolist() == [[0, 0, 0]]
