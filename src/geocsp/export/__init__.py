"""Trained models as ONNX files, for runtimes without PyTorch."""

from geocsp.export.checked import Difference
from geocsp.export.parts import Part
from geocsp.export.write import OnnxFile, export_onnx

__all__ = ["Difference", "OnnxFile", "Part", "export_onnx"]
