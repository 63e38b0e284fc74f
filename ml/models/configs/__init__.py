"""Torch-free settings of the models."""
