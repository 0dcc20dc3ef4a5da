"""Helpers shared by the whole package; import the submodule that is needed."""
