"""The mixer: one process that adds up the links of all bridges with more than two workers or a recording."""
