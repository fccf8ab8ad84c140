"""The idle culler: a service that stops servers nobody uses, by the limits of the rules."""
