"""Similarity graphs."""
