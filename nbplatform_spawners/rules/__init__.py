"""The rules language: values, engine, parser, store."""
