"""Evaluation of a model on its judged day: metrics, comparison with the champion, the gate and the report."""
