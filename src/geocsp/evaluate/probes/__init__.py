"""Probes of location embeddings: what a frozen encoder knows about places, and its artefacts."""

from geocsp.evaluate.probes.encoders import RAW, ProbedEncoder, probed_encoder
from geocsp.evaluate.probes.heads import Head
from geocsp.evaluate.probes.labels import LABELS, target_at
from geocsp.evaluate.probes.probe import Folds, FoldScore, ProbeResult, probe, probe_fold
from geocsp.evaluate.probes.rank import effective_rank, rankme
from geocsp.evaluate.probes.run import ProbeSettings, run_probes
from geocsp.evaluate.probes.stripes import Alignment, Artefacts, artefacts
from geocsp.evaluate.probes.targets import Target

__all__ = [
    "LABELS",
    "RAW",
    "Alignment",
    "Artefacts",
    "FoldScore",
    "Folds",
    "Head",
    "ProbeResult",
    "ProbeSettings",
    "ProbedEncoder",
    "Target",
    "artefacts",
    "effective_rank",
    "probe",
    "probe_fold",
    "probed_encoder",
    "rankme",
    "run_probes",
    "target_at",
]
