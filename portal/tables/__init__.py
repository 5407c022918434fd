"""Django's admin, for what no page of ours shows: to look at, and to change only where no host would have to hear of it."""
