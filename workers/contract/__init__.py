"""The only thing that portal and workers share: frozen, typed, versioned messages and the codes of errors."""
