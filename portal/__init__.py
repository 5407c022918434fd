"""What people see: definitions, rights and pages. It does nothing privileged and never waits for a host."""
