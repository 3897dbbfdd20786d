"""Small models of every kind, and what onnxruntime says to a file."""

import onnxruntime
import torch

import geocsp
from geocsp.classifier import GeoClassifier
from geocsp.coords import sample_sphere
from geocsp.fusion import GuardedFusion, Support
from geocsp.fusion.evidence import Evidence
from geocsp.fusion.trust import Trust
from geocsp.images import Framing, ModuleEncoder
from geocsp.train.finetune import ImageHead

NAMES = ("oak", "pine", "Ulmus × hollandica")
SIZE = 7
NAN = torch.nan
HARD = torch.tensor(
    [
        [0.0, 90.0],
        [77.0, 90.0],
        [-180.0, -90.0],
        [180.0, 3.0],
        [-180.0, 3.0],
        [179.99998, -60.0],
        [0.0, -0.0],
        [1e-30, 1e-30],
    ]
)


def places(count=40, seed=5):
    return torch.cat([sample_sphere(count, torch.Generator().manual_seed(seed)), HARD])


def features(count, seed=6):
    return torch.randn(count, SIZE, generator=torch.Generator().manual_seed(seed)) * 5 + 3


def encoder(name="space2vec-grid", **settings):
    torch.manual_seed(0)
    usual = {"frequencies": 4} if name == "space2vec-grid" else {}
    return geocsp.create("location", name, dim=6, hidden=8, **(usual | settings)).eval()


def geo_model(image=None, **settings):
    model = geocsp.GeoModel(encoder(**settings), SIZE, image=image)
    model.standardise_by(features(50))
    return model.eval()


def prior(kind=geocsp.GeoPrior, **settings):
    made = kind(encoder(**settings), NAMES)
    torch.nn.init.normal_(made.class_matrix.weight, std=2.0)
    return made.eval()


def classifier(kind=geocsp.GeoPrior, image=None, aligned=False, **joined):
    model = geo_model(image)
    torch.manual_seed(1)
    size = model.location.dim if aligned else SIZE
    head = ImageHead(torch.randn(size), torch.rand(size) + 0.5, torch.nn.Linear(size, len(NAMES)))
    return GeoClassifier(model, prior(kind), head, aligned=aligned, **joined).eval()


def guarded(fusion, support, *, gain=1.0, limits=(8000.0, 50.0)):
    trust = Trust(halves=(2000.0, 3.0), limits=limits)
    return GuardedFusion(fusion, 1.7, trust, Evidence(gain, 0.5), Support(support))


class Convolutions(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.last = torch.nn.Conv2d(4, SIZE, 3)

    def forward(self, image):
        return self.last(self.norm(self.first(image)).relu()).mean((2, 3))


def image_encoder():
    return ModuleEncoder(Convolutions(), framing=Framing(8), mean=128.0, deviation=60.0)


def answers(path, **inputs):
    """What onnxruntime says: outputs by name."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    given = {name: value.numpy() for name, value in inputs.items()}
    return dict(zip(names, map(torch.from_numpy, session.run(names, given)), strict=True))
