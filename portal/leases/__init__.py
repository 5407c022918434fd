"""How long a machine is there, when it runs by itself, and whether it does anything: end dates, schedules, idle machines."""
