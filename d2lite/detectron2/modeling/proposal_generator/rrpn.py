"""Rotated region proposals: names only; the real package has them."""

from __future__ import annotations

from detectron2._missing import missing

RRPN = missing("detectron2.modeling.proposal_generator.rrpn.RRPN")
