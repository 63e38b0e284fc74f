"""The verbs of ``python -m ml``, one file each."""
