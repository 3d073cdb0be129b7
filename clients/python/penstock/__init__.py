"""Client of a Penstock service: the generated wire types, errors, and what a flow's code may import."""

__version__ = "0.1.0"
