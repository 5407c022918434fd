"""The library of installation discs."""
