"""The subjects of the made-up company, a module each; scc/sandbox/seed.py puts them together.

Everything is made by SQL from row numbers. Addresses only in example.com, example.org and example.net.
"""
