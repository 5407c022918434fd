"""Teams: people who have machines together, and what each may do there."""
