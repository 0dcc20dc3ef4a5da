"""Makes annotation files of each dataset in the form that its registration reads."""
