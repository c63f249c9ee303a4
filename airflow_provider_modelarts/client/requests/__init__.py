"""Typed bodies of requests: one module for each group of calls. A plain dict may be given in place of each.

They are checked with pydantic, so they are imported by the calls that use them and not with the client.
"""
