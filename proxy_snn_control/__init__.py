"""Train spiking policies with proxy targets and run them on robots."""

__version__ = "0.2.0"
