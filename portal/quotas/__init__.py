"""How much a person or a team may have, what they have, and what has to be asked for."""
