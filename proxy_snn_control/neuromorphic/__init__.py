"""The policy on a neuromorphic chip, as Lava simulates it; see docs/neuromorphic.md."""
