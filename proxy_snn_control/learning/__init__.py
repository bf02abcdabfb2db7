"""Learning: tasks, TD3 with proxy targets, evaluation. Only the modules that train import torch."""
