"""From backbone maps to a decoded pyramid and a per-pixel mask embedding."""

from freeseg.modeling.pixel_decoder.deformable import DeformableEncoder, MSDeformAttnPixelDecoder

__all__ = ["DeformableEncoder", "MSDeformAttnPixelDecoder"]
