"""A seeded source of raw impression, click and conversion streams whose true probabilities are known."""
