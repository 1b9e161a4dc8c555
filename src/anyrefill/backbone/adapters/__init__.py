"""Adapters: the few parameters that turn one base into the painter of one task."""
