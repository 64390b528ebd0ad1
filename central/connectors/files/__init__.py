"""The files of another system as a connector: read where it puts them, and never touched."""
