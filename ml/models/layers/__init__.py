"""Layers that models compose."""
