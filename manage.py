#!/usr/bin/env python
"""Django's command line for the portal."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    # On a terminal a command says its own words; what it logs is for the services.
    os.environ.setdefault("OFFSHOOT_LOG_LEVEL", "WARNING")
    execute_from_command_line(sys.argv)
