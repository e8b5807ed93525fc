"""rampwatch: links gunfire to stolen cars."""

__version__ = "0.1.0"
