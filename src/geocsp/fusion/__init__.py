"""P(y | I, x): joining what an image and a place say, calibrated on held-out labels."""

from geocsp.fusion.fitting import fit_calibration, fit_fusion, fused_logits
from geocsp.fusion.guarded import GuardedFusion, fit_guarded_fusion
from geocsp.fusion.support import Support
from geocsp.fusion.trust import ensemble
from geocsp.fusion.variants import Calibration, Fusion, Mixture, Variant

__all__ = [
    "Calibration",
    "Fusion",
    "GuardedFusion",
    "Mixture",
    "Support",
    "Variant",
    "ensemble",
    "fit_calibration",
    "fit_fusion",
    "fit_guarded_fusion",
    "fused_logits",
]
