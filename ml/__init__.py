"""Samples, models, training and evaluation; knows no Dagster."""
