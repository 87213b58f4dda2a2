"""Comparing models (§4): cached trials, tuning on validation data, tables and claims."""
