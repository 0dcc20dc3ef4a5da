"""Deformable convolution: compiled code, only in the real package."""

from __future__ import annotations

from detectron2._missing import missing

DeformConv = missing("detectron2.layers.DeformConv")
ModulatedDeformConv = missing("detectron2.layers.ModulatedDeformConv")
deform_conv = missing("detectron2.layers.deform_conv.deform_conv")
modulated_deform_conv = missing("detectron2.layers.deform_conv.modulated_deform_conv")
