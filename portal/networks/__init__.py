"""Networks and the addresses given out in them."""
