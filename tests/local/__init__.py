"""Servers as processes of this machine, with the real bubblewrap and the real kernel."""
