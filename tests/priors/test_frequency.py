import torch

from geocsp.priors import Frequency


def test_one_label_is_added_to_those_of_each_class():
    labels = torch.tensor([0] * 5 + [2] * 2)
    prior = Frequency().fit(torch.zeros(7, 2), labels, ["a", "b", "c"])
    found = prior.class_probabilities(torch.tensor([[0.0, 0.0], [120.0, -80.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.1, 0.3]]).expand(2, 3))
