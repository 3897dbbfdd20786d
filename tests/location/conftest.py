import pytest
import torch

import geocsp


@pytest.fixture(params=geocsp.available("location"))
def encoder(request):
    torch.manual_seed(0)
    return geocsp.create("location", request.param, dim=16).eval()
