"""Small changes of behaviour of one file, and the tests that notice them; `tools/mutate.py` runs them."""
