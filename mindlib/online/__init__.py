"""Serving MIND (§5): export, ranking, the platform, the daily refresh, the simulated A/B test."""
