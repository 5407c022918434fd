"""Who may do what: one table, the gate that every request passes, and the shares and offers that give rights away."""
