"""Dagster's face of Postclick: assembly, settings, jobs, schedules and the command line."""
