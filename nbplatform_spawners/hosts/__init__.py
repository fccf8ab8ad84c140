"""Hosts and admission: what is live decides where a server goes."""
