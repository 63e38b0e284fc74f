"""The outside world: stores, registry, tracking, processes."""
