"""SegGPT: segmentation as painting, after examples."""
