"""The research recipe of contrastive spatial pre-training, written out from its description.

As in Mai et al. (ICML 2023) and the code released with it: a map-style data set asked for one
sample at a time, positions encoded by numpy in float64 in every forward pass, one pass of the
location encoder for each of true, random and repeated places, whole matrices of logits in float32,
Adam. CSP-MC-BLD with all temperatures and weights 1.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import geocsp


class PerSample(Dataset):
    """One Python call a sample."""

    def __init__(self, features: Tensor, lonlat: Tensor) -> None:
        self.features, self.places = features.numpy(), lonlat.numpy()
        self.classes = self.users = np.zeros(len(features), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {
            "loc_feat": torch.from_numpy(self.places[row]),
            "loc_class": torch.tensor(self.classes[row]),
            "user_ids": torch.tensor(self.users[row]),
            "cnn_features": torch.from_numpy(self.features[row]),
        }


class Research(nn.Module):
    """Space2Vec's grid encoder with one hidden layer, and one linear layer for image features.

    Args:
        model: the model whose weights to start with.
        seed: of random places.
    """

    def __init__(self, model: geocsp.GeoModel, seed: int) -> None:
        super().__init__()
        self.random = np.random.default_rng(seed)
        network, self.frequencies = model.location.network, 1 / model.location.radii.numpy()
        self.hidden, self.norm = network.hidden[0].linear, network.hidden[0].norm
        self.output, self.image = network.output, model.projection
        self.activation, self.dropout = nn.LeakyReLU(0.2), nn.Dropout(0.5)

    def positions(self, lonlat: Tensor) -> np.ndarray:
        coordinates = lonlat.numpy().reshape(-1, 1, 2).astype(np.float64)
        repeated = np.expand_dims(np.expand_dims(coordinates, 3), 4)
        repeated = np.repeat(np.repeat(repeated, len(self.frequencies), axis=3), 2, axis=4)
        angles = repeated * np.repeat(self.frequencies[:, None], 2, axis=1)
        angles[..., 0::2] = np.sin(angles[..., 0::2])
        angles[..., 1::2] = np.cos(angles[..., 1::2])
        return angles.reshape(len(lonlat), 1, -1)

    def encode(self, lonlat: Tensor) -> Tensor:
        features = torch.FloatTensor(self.positions(lonlat)).squeeze(1)
        hidden = self.norm(self.dropout(self.activation(self.hidden(features))))
        embedding = self.dropout(self.activation(self.output(hidden)))
        return embedding / embedding.norm(dim=1, keepdim=True)

    def project(self, features: Tensor) -> Tensor:
        projected = self.image(features)
        return projected / projected.norm(dim=1, keepdim=True)

    def uniform(self, count: int) -> Tensor:
        """Places uniform on the sphere, degrees."""
        z, turn = self.random.uniform(-1, 1, count), self.random.uniform(-180, 180, count)
        return torch.FloatTensor(np.stack([turn, np.degrees(np.arcsin(z))], axis=1))

    def loss(self, lonlat: Tensor, features: Tensor) -> Tensor:
        image, location = self.project(features), self.encode(lonlat)
        own = torch.arange(len(lonlat))
        in_batch = F.cross_entropy(location @ image.T, own)
        random = self.encode(self.uniform(len(lonlat)))
        true = (location * image).sum(1, keepdim=True)
        logits = torch.cat([true, (random * image).sum(1, keepdim=True)], dim=1)
        random_location = F.cross_entropy(logits, torch.zeros_like(own))
        again = self.encode(lonlat)
        return in_batch + random_location + F.cross_entropy(location @ again.T, own)


def train_epoch(
    model: Research, features: Tensor, lonlat: Tensor, batch: int, rate: float, seed: int
) -> float:
    """One epoch; its mean loss."""
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    loader = DataLoader(
        PerSample(features, lonlat), batch_size=batch, shuffle=True, num_workers=0, drop_last=True
    )
    losses = []
    model.train()
    for samples in loader:
        optimizer.zero_grad()
        loss = model.loss(samples["loc_feat"], samples["cnn_features"])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return sum(losses) / len(losses)
