"""Shapes of the admin API: what HQ sends and what it gets, for code, `/openapi.json` and the command line."""
