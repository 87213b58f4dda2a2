"""The parts of MIND, one module for each section of the paper (§3.2 to §3.4)."""
