"""Web hooks: other programs hear by HTTP what administrators want them to hear."""
