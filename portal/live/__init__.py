"""Pages that change by themselves."""
