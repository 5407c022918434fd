"""The sizes that are offered for new machines; administrators decide which."""
