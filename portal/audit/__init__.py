"""Who did what, when, from where, with what result: lines that are added and never changed."""
