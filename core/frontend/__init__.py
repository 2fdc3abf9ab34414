"""ONNX models in, as graphs; and graphs out again, as ONNX models."""

from heddle.core.frontend.importer import import_model

__all__ = ["import_model"]
