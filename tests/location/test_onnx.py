"""Every location encoder leaves PyTorch as an ONNX graph that answers the same."""

import logging

import onnxruntime
import pytest
import torch

from geocsp.coords import sample_sphere

PLACES = sample_sphere(20, torch.Generator().manual_seed(0)).double()


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.filterwarnings("ignore")
def test_the_graph_gives_the_same_embeddings(encoder):
    rows = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        encoder, (PLACES,), dynamo=True, dynamic_shapes=({0: rows},), verbose=False
    )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    few = PLACES[:7]
    (found,) = session.run(None, {session.get_inputs()[0].name: few.numpy()})
    expected = encoder(few).detach()
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=1e-4)
