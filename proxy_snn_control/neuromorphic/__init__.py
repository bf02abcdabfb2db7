"""The policy on a neuromorphic chip, as Lava simulates it; docs/neuromorphic.md tells how."""
