"""Serving MIND (§5): export, ranking, the platform, the nightly refresh, the simulated A/B test."""
