"""The layers of MIND: pooling (§3.2), routing (§3.3) and label-aware attention (§3.4)."""
