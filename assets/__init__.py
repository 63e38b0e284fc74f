"""The assets of the chain, thin: they fetch, call, store and report."""
